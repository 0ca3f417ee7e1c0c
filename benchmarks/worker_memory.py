"""Memory and open files of a data loader's worker over ten thousand clips.

    python benchmarks/worker_memory.py
    python benchmarks/worker_memory.py clip.mp4 other.mp4

Prints the worker's resident memory and its open files after 100, 1,000 and 10,000 clips, and fails if memory grows by
more than 20 MB, or the number of open files at all, after the first thousand. Without arguments it creates a tiny file
with audio. One in fifty files is damaged, since unreadable files must not leak either.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from vidcore import ClipSpec, Sample, Task
from vidcore.reading.dataset import VideoDataset
from vidcore.reading.sampler import SeededSampler
from vidcore.video import write_video

MARKS = (100, 1_000, 10_000)
SLACK_MB = 20.0


class Watched(VideoDataset):
    """Add the worker's resource usage to each item."""

    def __getitem__(self, draw: Any) -> dict[str, Any]:
        item = super().__getitem__(draw)
        status = Path("/proc/self/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return {"mb": kilobytes / 1024, "files": len(list(Path("/proc/self/fd").iterdir())), "errors": item["errors"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="videos with audio")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = arguments.files
        if not paths:
            paths = [f"{folder}/tiny.mp4"]
            frames = torch.randint(0, 255, (12, 3, 48, 64), dtype=torch.uint8)
            write_video(paths[0], frames, 12, audio=torch.rand(16_000) - 0.5)
        (Path(folder) / "broken.mp4").write_text("no video")
        samples = [
            Sample(f"{folder}/broken.mp4" if number % 50 == 0 else paths[number % len(paths)], 0)
            for number in range(MARKS[-1])
        ]
        spec = ClipSpec(segments=2, frames=2, size=32, modalities=("rgb", "audio"), audio_seconds=0.25)
        dataset = Watched(samples, Task.numbered(2), spec, train=True)
        sampler = SeededSampler(dataset, train=True, seed=0)
        seen: dict[int, tuple[float, int]] = {}
        replaced = 0
        for number, item in enumerate(DataLoader(dataset, None, sampler=sampler, num_workers=1), start=1):
            replaced += len(item["errors"])
            if number in MARKS:
                seen[number] = item["mb"], item["files"]
                print(f"after {number:6} clips: {item['mb']:7.1f} MB resident, {item['files']} open files")
    print(f"{replaced} unreadable samples were replaced")
    grown = seen[MARKS[-1]][0] - seen[MARKS[1]][0]
    flat = grown <= SLACK_MB and seen[MARKS[-1]][1] <= seen[MARKS[1]][1]
    print(f"{'flat' if flat else 'NOT FLAT'}: {grown:+.1f} MB over the last {MARKS[-1] - MARKS[1]} clips")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
