"""Cost of reading audio, frame differences and optical flow, compared with frames only.

    pip install "vidcore[flow]"
    python benchmarks/data_modalities.py FILE...

Prints two Markdown tables for one process and one thread; seconds are processor time, so that other work on the machine
matters little. In the first table a clip is AdaMML's: ``--segments`` segments of 8 frames at stride 4, crops of 224
pixels, 1.28 s of audio at 24 kHz; flow is read from a filled cache, and rows with audio use the files that have some.
Spectrograms are computed on the model's device, here the same processor; the loader transfers the wave. The second
table measures fields of consecutive frames with a short side of 256 pixels. Networks are untrained if their weights
cannot be downloaded: time is the same, but file sizes are not and are omitted.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from torchvision.models import get_model
from torchvision.transforms.v2 import functional as F

from vidcore.clip import ClipSpec, Modality
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample, VideoDataset
from vidcore.video import flow
from vidcore.video.audio import NoAudioError, read_audio
from vidcore.video.decoder import open_video
from vidcore.video.flow import FlowSource
from vidcore.video.spectrogram import spectrogram

_RAFT = flow._raft_network  # before it is replaced by an untrained network


def seconds(run: Callable[[], Any]) -> float:
    """Return the processor seconds of a call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def with_sound(paths: Sequence[str]) -> list[str]:
    """Return the files that have audio."""
    found = []
    for path in paths:
        try:
            read_audio(path, 24_000, 0, 0.1)
        except NoAudioError:
            continue
        found.append(path)
    return found


def clips(name: str, paths: Sequence[str], spec: ClipSpec, source: FlowSource) -> str:
    """Return a row of the first table."""
    dataset = VideoDataset([Sample(path) for path in paths], None, spec, flow=source)
    sizes, times = [], []
    for turn in range(2):  # the first round fills the cache
        for index in range(len(dataset)):
            items: list[Any] = []
            used = seconds(lambda items=items, index=index: items.append(dataset[index]))  # type: ignore[misc]
            if items[0]["errors"]:
                raise SystemExit(str(items[0]["errors"]))
            if turn:
                times.append(used)
                sizes.append(sum(value.numel() * value.element_size() for value in items[0]["inputs"].values()))
    wave = torch.rand(1, spec.segments, round(spec.audio_rate * spec.audio_seconds)) - 0.5
    listens = "audio" in spec.modalities and spec.audio_form != "wave"
    made = [seconds(lambda: spectrogram(wave, spec)) for _ in range(5)] if listens else [0.0]
    ms, made_ms = 1000 * statistics.mean(times), 1000 * statistics.median(made)
    shown = f"{made_ms:.1f}" if listens else ""
    cells = [
        name,
        len(paths),
        f"{ms:.1f}",
        shown,
        f"{1000 / (ms + made_ms):.1f}",
        f"{statistics.mean(sizes) / 1e6:.2f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def fields(method: Any, frames: Sequence[torch.Tensor], folder: Path) -> str:
    """Return a row of the second table."""
    trained = flow._raft_network is _RAFT or not method.startswith("raft")
    try:
        flow.optical_flow(frames[0][0], frames[0][1], method)
    except UserError as error:
        if not method.startswith("raft"):
            raise SystemExit(str(error)) from error
        trained = False
        flow._raft_network = functools.cache(lambda method: get_model(method).eval())  # type: ignore[assignment]
        flow._raft_network(method)
    kept = FlowSource(method, cache=str(folder)).fields(f"{method}.mp4")
    pairs = [(before, after) for clip in frames for before, after in itertools.pairwise(clip)]

    def compute() -> None:
        for number, pair in enumerate(pairs):
            kept.compute(number, *pair)

    computing = seconds(compute)
    assert kept.folder is not None
    size = sum(file.stat().st_size for file in kept.folder.iterdir())
    read = FlowSource(method, cache=str(folder)).fields(f"{method}.mp4")
    reading = seconds(lambda: [read._picture(axis, number) for number in range(len(pairs)) for axis in "xy"])
    name = method if trained else f"{method}, untrained"
    per_field = [1000 * computing / len(pairs), size / len(pairs), 1000 * reading / len(pairs)]
    shown = f"{per_field[1]:,.0f}" if trained else ""
    return f"| {name} | {len(pairs)} | {per_field[0]:,.0f} | {shown} | {per_field[2]:.2f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="videos, some with audio")
    parser.add_argument("--segments", type=int, default=2)
    parser.add_argument("--fields", type=int, default=3, help="fields per file and method, for two files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths = arguments.files
    loud = with_sound(paths)
    mute = [path for path in paths if path not in loud] or paths
    spec = ClipSpec(
        segments=arguments.segments, frames=8, stride=4, size=224, short_side=256, audio_rate=24_000, audio_seconds=1.28
    )
    with tempfile.TemporaryDirectory() as folder:
        source = FlowSource(cache=str(Path(folder) / "clips"))
        print("| input | files | ms a clip | ms of its spectrograms | clips/s | MB that travel |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        looks: list[tuple[Modality, ...]] = [("rgb",), ("rgbdiff",), ("flow",), ("rgb", "rgbdiff", "flow")]
        for look in looks:
            print(clips(" ".join(look), mute, replace(spec, modalities=look), source), flush=True)
        for form in ("wave", "log_power", "log_mel") if loud else ():
            listening = replace(spec, modalities=("audio",), audio_form=form)
            print(clips(f"audio, {form}", loud, listening, source), flush=True)
        if loud:
            both = replace(spec, modalities=("rgb", "audio"), audio_form="log_power")
            print(clips("rgb of the files with sound", loud, replace(spec), source), flush=True)
            print(clips("rgb audio, log_power", loud, both, source), flush=True)
        print("\n| flow | fields | ms a field | bytes a field | ms to read it back |")
        print("| --- | ---: | ---: | ---: | ---: |")
        frames = []
        for path in mute[:2]:
            with open_video(path) as video:
                middle = video.num_frames // 2
                some = video.frames(range(middle, min(middle + arguments.fields + 1, video.num_frames)))
            frames.append(F.resize(some, [256], antialias=True))
        for method in get_args(flow.Method):
            print(fields(method, frames, Path(folder) / "fields"), flush=True)


if __name__ == "__main__":
    main()
