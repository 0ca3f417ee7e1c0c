"""Reading speed of clips from original videos, re-encoded videos, folders of frames and shards.

    pip install "vidcore-datasets[shards]" decord2 torchcodec pytorchvideo==0.1.5
    python benchmarks/data.py FOLDER

FOLDER contains ``labels.csv`` with the column ``path``, or videos at any depth. Prints three Markdown tables; figures
are medians (minimum to maximum) over repeats, in which all alternate, after one untimed round.

1. Output of ``vid data prepare``, in one process.
2. Clips per second of ``VideoDataset`` and ``DataLoader``, as in training. Sampling "dense" is ``--frames`` frames with
   stride 2, "even" one frame from each of as many segments. The share of decoding is its part of the processor time in
   one process, from opening a file to RGB frames.
3. Other libraries on the original videos, with the frames that "even" draws: bare decoders only decode, pytorchvideo is
   set up as in ``benchmarks/loader.py``. Libraries that are not installed are omitted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loader import PytorchvideoTransform, Seeded, drawn, one_round, spread, videos_of
from torch.utils.data import DataLoader, Dataset

from vidcore.clip import ClipSpec
from vidcore.reading.dataset import Sample, VideoDataset
from vidcore.task import Task
from vidcore.video.decoder import installed_backends
from vidcore_datasets import preparing as prepare
from vidcore_datasets.prepared import read_prepared

TASK = Task("single_label", ("any", "other"))
FORMS: tuple[prepare.Form, ...] = ("video", "frames", "shards")
NAMES = {"originals": "originals", "video": "re-encoded", "frames": "frames", "shards": "shards"}


def prepared(paths: Sequence[str], folder: Path) -> dict[str, list[Sample]]:
    """Prepare the samples in every form; print the first table."""
    samples = {"originals": [Sample(path, 0) for path in paths]}
    print("| form | MB | videos/s | MB/s read |\n|---|---|---|---|")
    before = sum(Path(path).stat().st_size for path in paths) / 1e6
    print(f"| originals | {before:.1f} | | |")
    for form in FORMS:
        settings = prepare.Settings(form, str(folder / form))
        jobs = prepare.jobs_of({"train": samples["originals"]}, settings)
        with prepare.claimed(settings, jobs):
            begin = time.perf_counter()
            results = [prepare.do(settings, job) for job in jobs]
            seconds = time.perf_counter() - begin
            prepare.write_samples({"train": samples["originals"]}, TASK, settings, results)
        samples[form] = list(read_prepared(settings.target).samples["train"])
        after = sum(result.after for result in results) / 1e6
        rates = f"{len(paths) / seconds:.2f} | {before / seconds:.2f}"
        print(f"| {NAMES[form]} | {after:.1f} | {rates} |", flush=True)
    return samples


def decoding_share(dataset: VideoDataset) -> float:
    """Return the share of decoding in the processor time."""
    spent, decode = [0.0], dataset._decode

    def timed(*args: Any) -> Any:
        begin = time.process_time()
        try:
            return decode(*args)
        finally:
            spent[0] += time.process_time() - begin

    dataset._decode = timed  # type: ignore[method-assign, assignment]
    begin = time.process_time()
    for index in range(len(dataset)):
        dataset.collate([dataset[index]])
    share = spent[0] / (time.process_time() - begin)
    del dataset._decode
    return share


class Frames(Dataset[int]):
    """Decode only."""

    def __init__(
        self, read: Callable[[str, list[int]], Any], paths: Sequence[str], wanted: Sequence[np.ndarray]
    ) -> None:
        self.read, self.paths, self.wanted = read, paths, [indices.tolist() for indices in wanted]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        return len(self.read(self.paths[index], self.wanted[index]))


def by_torchcodec(path: str, indices: list[int]) -> torch.Tensor:
    """Decode with torchcodec only."""
    from torchcodec.decoders import VideoDecoder

    return VideoDecoder(path, num_ffmpeg_threads=1).get_frames_at(indices).data


def by_decord(path: str, indices: list[int]) -> Any:
    """Decode with decord2 only."""
    import decord

    return decord.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()


def peers(paths: list[str], spec: ClipSpec, common: dict[str, Any]) -> dict[str, DataLoader[Any]]:
    """Return a loader for each installed library."""
    from loader import GivenWindow, LabeledVideoDataset, SequentialSampler

    draws = [drawn(path, seed, spec, True) for seed, path in enumerate(paths)]
    indices, windows = zip(*draws, strict=True)
    found: dict[str, Dataset[Any]] = {}
    for name, read in {"torchcodec": by_torchcodec, "decord": by_decord}.items():
        if name in installed_backends():
            found[name] = Frames(read, paths, indices)
    labelled = [(path, {"label": 0, "window": window}) for path, window in zip(paths, windows, strict=True)]
    transform = PytorchvideoTransform(spec.num_frames, spec.size, True)
    found["pytorchvideo"] = LabeledVideoDataset(
        labelled, GivenWindow(), SequentialSampler, transform, decode_audio=False
    )
    return {name: DataLoader(dataset, **common) for name, dataset in found.items()}


def turns(loaders: dict[str, DataLoader[Any]], repeats: int) -> dict[str, list[float]]:
    """Return clips per second of each loader in every repeat."""
    kinds = {"pytorchvideo": "pytorchvideo", "torchcodec": "bare", "decord": "bare"}
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for repeat in range(repeats + 1):
        for name, loader in loaders.items():
            clips, seconds, _ = one_round(kinds.get(name, "vidcore"), loader)
            if repeat:
                rates[name].append(clips / seconds)
    return rates


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=32)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths, load = videos_of(args.folder, args.videos), os.getloadavg()[0]
    print(f"{len(paths)} videos of {args.folder.name}, clips of {args.frames} frames of {args.size}²\n")
    with tempfile.TemporaryDirectory() as folder:
        samples = prepared(paths, Path(folder))
        print("\n| sampling | workers | videos | clips/s | against originals | decoding |\n|---|---|---|---|---|---|")
        specs = {
            "dense": ClipSpec(frames=args.frames, stride=2, size=args.size),
            "even": ClipSpec(segments=args.frames, frames=1, size=args.size),
        }
        shares: dict[tuple[str, str], float] = {}
        for workers in args.workers:
            common: dict[str, Any] = {"batch_size": 8, "num_workers": workers, "persistent_workers": True}
            for kind, spec in specs.items():
                data = {form: VideoDataset(part, TASK, spec, train=True) for form, part in samples.items()}
                loaders: dict[str, DataLoader[Any]] = {
                    form: DataLoader(Seeded(dataset), collate_fn=dataset.collate, **common)
                    for form, dataset in data.items()
                }
                rates = turns(loaders, args.repeats)
                for form, dataset in data.items():
                    if (kind, form) not in shares:
                        shares[kind, form] = decoding_share(dataset)
                    pairs = zip(rates[form], rates["originals"], strict=True)
                    ratio = "1" if form == "originals" else spread((one / other for one, other in pairs), 2)
                    cells = f"{spread(rates[form], 1)} | {ratio} | {shares[kind, form]:.0%}"
                    print(f"| {kind} | {workers} | {NAMES[form]} | {cells} |", flush=True)
        print("\n| workers | who | clips/s | vidcore against it |\n|---|---|---|---|")
        for workers in args.workers:
            common = {"batch_size": 8, "num_workers": workers, "persistent_workers": True}
            ours = VideoDataset(samples["originals"], TASK, specs["even"], train=True)
            by_name: dict[str, DataLoader[Any]] = {
                "vidcore": DataLoader(Seeded(ours), collate_fn=ours.collate, **common)
            }
            rates = turns(by_name | peers(paths, specs["even"], common), args.repeats)
            for name, each in rates.items():
                pairs = zip(rates["vidcore"], each, strict=True)
                ratio = "" if name == "vidcore" else spread((one / other for one, other in pairs), 2)
                print(f"| {workers} | {name} | {spread(each, 1)} | {ratio} |", flush=True)
    print(f"\nLoad average of the last minute: {load:.1f} before, {os.getloadavg()[0]:.1f} after.")


if __name__ == "__main__":
    main()
