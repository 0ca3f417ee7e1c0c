"""Check that `vid predict` needs no more memory for a one-hour video than for a ten-second one.

    python benchmarks/predict_memory.py

Creates both videos, 640×480 at 30 fps with audio: the hour repeats the packets of the ten seconds, so that both have
the same frames. Predicts on each with an untrained MoViNet-A0 (memory does not depend on weights), with one view and
with ten, in a separate process. Prints a Markdown table of that process's peak resident memory in MB, and exits with 1
if the hour needs 200 MB more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import torch

from vidcore.task import Task
from vidcore.video.encode import write_video
from vidcore_movinet import MoViNetModule

SECONDS, TIMES, FPS = 10, 360, 30


def ten_seconds(path: Path) -> None:
    """Create frames of a square that moves over static noise."""
    ground = torch.randint(0, 255, (3, 480, 640), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def frame(number: int) -> torch.Tensor:
        picture = ground.clone()
        picture[:, 200:280, 2 * number : 2 * number + 40] = 255
        return picture

    sound = 0.3 * torch.sin(torch.arange(SECONDS * 16_000) * 0.1)
    write_video(path, map(frame, range(SECONDS * FPS)), fps=FPS, audio=sound, crf=30)


def repeat(source: Path, path: Path) -> None:
    """Repeat the source's packets ``TIMES`` times."""
    with av.open(str(path), "w") as target, av.open(str(source)) as template:
        last: dict[int, int] = {}
        streams = [target.add_stream_from_template(stream) for stream in template.streams]
        for time in range(TIMES):
            with av.open(str(source)) as container:
                for packet in container.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(time * SECONDS / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    number = packet.stream.index
                    if packet.dts > last.get(number, packet.dts - 1):  # the audio is slightly longer than the video
                        last[number] = packet.dts
                        packet.stream = streams[number]
                        target.mux(packet)


def peak_mb(video: Path, weights: Path, views: int) -> float:
    """Return the peak resident memory of a prediction."""
    command = [sys.executable, "-m", "vidcore.cli", "predict", str(video), "--model", "movinet"]
    command += ["--weights", str(weights), "--classes", "10", "--accelerator", "cpu", "--views", str(views)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"vid predict failed on {video}")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short, hour, weights = folder / "short.mp4", folder / "hour.mp4", folder / "weights.pt"
        ten_seconds(short)
        repeat(short, hour)
        torch.save(MoViNetModule(Task.numbered(10)).state_dict(), weights)
        print("| views | ten seconds, MB | one hour, MB | growth, MB |\n|---|---|---|---|", flush=True)
        worst = 0.0
        for views in (1, 10):
            before, after = peak_mb(short, weights, views), peak_mb(hour, weights, views)
            worst = max(worst, after - before)
            print(f"| {views} | {before:.0f} | {after:.0f} | {after - before:.0f} |", flush=True)
    return 0 if worst < 200 else 1


if __name__ == "__main__":
    sys.exit(main())
