"""Reading speed of clips, compared with bare decoding of the same frames and with pytorchvideo.

    pip install pytorchvideo==0.1.5
    python benchmarks/loader.py FOLDER

FOLDER contains ``labels.csv`` with the column ``path``, or videos at any depth. Prints a Markdown table of clips per
second and of ratios, each as median (minimum to maximum) over repeats. All three read the same frames of the same files
with the same number of workers, alternating, after one untimed round:

* vidcore: ``VideoDataset`` with its transforms, in a ``DataLoader``.
* bare: PyAV decodes from the first frame to the last requested one and converts the requested frames to RGB. No seek,
no
  transform, and no transfer from the worker.
* pytorchvideo: ``LabeledVideoDataset`` (returned by ``labeled_video_dataset``) without audio. It keeps all frames from
  the first to the last requested one and subsamples ``--frames`` of them evenly; they differ from the others' if a
  video is shorter than its clip or the stride is uneven. Its ``transforms`` cannot be imported with a current
  torchvision, so they are reimplemented here, without normalisation.

Stride "even" is one frame from each of ``--frames`` equal segments. Ratios of processor time do not depend on other
load of the machine, the others do.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data.clip_sampling import ClipInfo, ClipSampler
from torch.utils.data import DataLoader, Dataset, SequentialSampler
from torchvision.transforms import v2

from vidcore.clip import ClipSpec
from vidcore.datamodule import Sample, VideoDataset
from vidcore.task import Task
from vidcore.video.decoder import open_video
from vidcore.video.sampling import clip_indices

SUFFIXES = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg"}
METHODS = ("vidcore", "bare", "pytorchvideo")


def videos_of(folder: Path, limit: int) -> list[str]:
    """Return at most ``limit`` files, evenly spaced."""
    if (folder / "labels.csv").exists():
        with open(folder / "labels.csv", newline="") as file:
            paths = [folder / row["path"] for row in csv.DictReader(file)]
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [str(paths[i * len(paths) // limit]) for i in range(limit)] if len(paths) > limit else list(map(str, paths))


class Seeded(Dataset[dict[str, Any]]):
    """vidcore's data set with fixed random draws per video."""

    def __init__(self, dataset: VideoDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        torch.default_generator.manual_seed(index)  # torch.manual_seed is slower: it formats a stack trace per device
        return self.dataset[index]


def drawn(path: str, seed: int, spec: ClipSpec, train: bool) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the frames that ``Seeded`` reads, and their start and end time in seconds since the first frame."""
    torch.default_generator.manual_seed(seed)
    rng = np.random.default_rng(int(torch.randint(2**62, ()))) if train else None
    with open_video(path) as video:
        times = video.times.numpy()
    indices = clip_indices(times, spec, rng=rng)
    first, last = times[indices.min()] - times[0], times[indices.max()] - times[0]
    half = 0.5 * min(np.diff(times), default=0.02)  # half a frame, as tolerance for rounding
    return indices, (max(0.0, float(first - half)), float(last + half))


class Bare(Dataset[int]):
    """Data set that only decodes."""

    def __init__(self, paths: Sequence[str], indices: Sequence[np.ndarray]) -> None:
        self.paths, self.indices = paths, [set(wanted.tolist()) for wanted in indices]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        wanted, kept = self.indices[index], []
        with av.open(self.paths[index]) as container:
            container.streams.video[0].codec_context.thread_count = 1  # as in vidcore; slice threads only add overhead
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    kept.append(frame.to_ndarray(format="rgb24"))
                    if len(kept) == len(wanted):
                        break
        assert len(kept) == len(wanted), self.paths[index]
        return len(kept)


class GivenWindow(ClipSampler):
    """Clip sampler of pytorchvideo with the start and end that the others read."""

    def __init__(self) -> None:
        super().__init__(0)

    def __call__(self, last_clip_time: float, video_duration: float, annotation: dict[str, Any]) -> ClipInfo:
        return ClipInfo(*annotation["window"], 0, 0, True)


class PytorchvideoTransform:
    """UniformTemporalSubsample, ShortSideScale, crop, and a flip in training, as in its recipes."""

    def __init__(self, frames: int, size: int, train: bool) -> None:
        self.frames, self.size = frames, size
        self.crop: Any = v2.CenterCrop(size)
        if train:
            self.crop = v2.Compose([v2.RandomCrop(size), v2.RandomHorizontalFlip()])

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        clip = sample["video"]  # (C, T, H, W) float32
        clip = clip.index_select(1, torch.linspace(0, clip.shape[1] - 1, self.frames).long())
        height, width = clip.shape[-2:]
        scale = self.size / min(height, width)
        shape = (max(self.size, int(height * scale)), max(self.size, int(width * scale)))
        clip = torch.nn.functional.interpolate(clip, size=shape, mode="bilinear", align_corners=False)
        return {"video": self.crop(clip), "label": sample["label"]}


def processor_seconds() -> float:
    """Return the processor seconds used by this process and its workers (Linux)."""
    ticks = 0
    for process in multiprocessing.active_children():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()


def loaders(paths: list[str], spec: ClipSpec, train: bool, workers: int, batch: int) -> dict[str, DataLoader[Any]]:
    """Return one loader for each of ``METHODS``."""
    vidcore = VideoDataset([Sample(path, 0) for path in paths], Task("single_label", ("any",)), spec, train=train)
    draws = [drawn(path, seed, spec, train) for seed, path in enumerate(paths)]
    labelled = [(path, {"label": 0, "window": window}) for path, (_, window) in zip(paths, draws, strict=True)]
    transform = PytorchvideoTransform(spec.num_frames, spec.size, train)
    theirs = LabeledVideoDataset(labelled, GivenWindow(), SequentialSampler, transform, decode_audio=False)
    common: dict[str, Any] = {"batch_size": batch, "num_workers": workers, "persistent_workers": True}
    return {
        "vidcore": DataLoader(Seeded(vidcore), collate_fn=vidcore.collate, **common),
        "bare": DataLoader(Bare(paths, [indices for indices, _ in draws]), **common),
        "pytorchvideo": DataLoader(theirs, **common),
    }


def one_round(name: str, loader: DataLoader[Any]) -> tuple[int, float, float]:
    """Return clips, wall-clock seconds and processor seconds of one pass."""
    start, used, clips = time.perf_counter(), processor_seconds(), 0
    for batch in loader:
        clips += len(batch) if name == "bare" else len(batch["ids"] if name == "vidcore" else batch["video"])
    return clips, time.perf_counter() - start, processor_seconds() - used


def spread(values: Iterable[float], digits: int) -> str:
    """Format median (minimum to maximum)."""
    values = list(values)
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def measure(paths: list[str], spec: ClipSpec, train: bool, workers: int, batch: int, repeats: int) -> list[str]:
    """Return the table's cells: clips per second of each, then vidcore's ratios in wall-clock and processor time."""
    by_name = loaders(paths, spec, train, workers, batch)
    for name, loader in by_name.items():
        clips = one_round(name, loader)[0]
        if clips != len(paths):
            raise SystemExit(f"{name} read {clips} of {len(paths)} clips")
    rounds = [{name: one_round(name, loader)[1:] for name, loader in by_name.items()} for _ in range(repeats)]
    cells = [spread((len(paths) / each[name][0] for each in rounds), 1) for name in METHODS]
    for other in METHODS[1:]:
        cells += [spread((each[other][kind] / each["vidcore"][kind] for each in rounds), 2) for kind in (0, 1)]
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--stride", type=int, nargs="+", default=[4, 0], help="stride in frames; 0: even, see above")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--videos", type=int, default=64, help="maximum number of videos")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    paths = videos_of(args.folder, args.videos)
    if not paths:
        raise SystemExit(f"{args.folder} has neither labels.csv nor videos")
    load = os.getloadavg()[0]
    others = [f"vidcore / {name}{kind}" for name in METHODS[1:] for kind in ("", ", processor time")]
    head = ["workers", "stride", "mode", *(f"{name}, clips/s" for name in METHODS), *others]
    setting = f"{args.frames} frames, crop {args.size}, {args.repeats} repeats, {os.cpu_count()} cores"
    print(f"{len(paths)} videos of {args.folder.name}, {setting}\n")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for workers in args.workers:
        for stride in args.stride:
            kind = {"frames": args.frames, "stride": stride} if stride else {"segments": args.frames, "frames": 1}
            spec = ClipSpec(**kind, size=args.size)
            for mode in ("train", "eval"):
                cells = measure(paths, spec, mode == "train", workers, args.batch, args.repeats)
                print(f"| {workers} | {stride or 'even'} | {mode} | {' | '.join(cells)} |", flush=True)
    print(f"\nLoad average of the last minute: {load:.1f} before, {os.getloadavg()[0]:.1f} after.")


if __name__ == "__main__":
    main()
