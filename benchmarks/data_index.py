"""Time to load the index of a data set, and memory of workers that read one.

    python benchmarks/data_index.py [--rows 1000 250000] [--folder FOLDER]

Creates empty files in the layouts of the data sets `csv`, `folder`, `unlabelled` and `kinetics400`, with annotations,
and prints two Markdown tables: seconds from the data module to the indices of train and val, at the first and second
start, without imports; and the memory of a worker after it has read many samples, private (USS) and proportional (PSS),
from `/proc/self/smaps_rollup`. A plain list of samples is measured for comparison. Each number comes from a separate
process; files and cache are in a temporary folder by default.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

CLASSES = 400
DATA = {
    "csv": ("Csv", "labels.csv"),
    "folder": ("Folder", ""),
    "unlabelled": ("Unlabelled", ""),
    "kinetics400": ("Kinetics400", ""),
}
WORKERS = 2


def make(root: Path, rows: int) -> None:
    """Create files with Kinetics names, one in twelve for val, and annotations in two formats."""
    names = [f"class {number:03d}" for number in range(min(CLASSES, rows // 24))]
    annotations: dict[str, list[tuple[str, str, str]]] = {"train": [], "val": []}
    for split in annotations:
        for name in names:
            (root / split / name).mkdir(parents=True)
    for number in range(rows):
        split = "val" if number % 12 == 0 else "train"
        label = names[number // 12 % len(names)]
        video = f"v{number:010d}"
        path = f"{split}/{label}/{video}_000010_000020.mp4"
        os.close(os.open(root / path, os.O_CREAT))
        annotations[split].append((path, label, video))
    with (root / "labels.csv").open("w", newline="") as file:
        parts = [(path, label, split) for split, part in annotations.items() for path, label, _ in part]
        csv.writer(file).writerows([("path", "label", "split"), *parts])
    for split, part in annotations.items():
        with (root / f"{split}.csv").open("w", newline="") as file:
            header = ("label", "youtube_id", "time_start", "time_end", "split")
            csv.writer(file).writerows([header, *((label, video, 10, 20, split) for _, label, video in part)])


def start(name: str, root: str) -> float:
    """Return the seconds to load the indices of both splits."""
    import vidcore_datasets
    from vidcore import ClipSpec
    from vidcore.reading.dataset import VideoDataset

    cls, file = getattr(vidcore_datasets, DATA[name][0]), DATA[name][1]
    begin = time.perf_counter()
    data = cls(str(Path(root, file)))
    for split in ("train", "val"):
        VideoDataset(data.samples(split), data.task, ClipSpec(size=16))
    return time.perf_counter() - begin


def memory(name: str, root: str, kind: str, looks: int) -> list[float]:
    """Return the growth of a worker's private and proportional memory in MB while reading samples."""
    import vidcore_datasets

    cls, file = DATA[name]
    samples: Sequence = getattr(vidcore_datasets, cls)(str(Path(root, file))).samples("train")
    if kind == "list":
        samples = list(samples)
    context = multiprocessing.get_context("fork")
    found = []
    for _ in range(WORKERS):
        ours, theirs = context.Pipe()
        process = context.Process(target=look, args=(samples, looks, theirs))
        process.start()
        found.append((ours, process))
    numbers = [ours.recv() for ours, _ in found]
    for ours, process in found:
        ours.send(None)
        process.join()
    return [max(column) for column in zip(*numbers, strict=True)]


def look(samples: Sequence, looks: int, connection: Connection) -> None:
    import random

    before = used()
    rng = random.Random(0)
    for _ in range(looks):
        samples[rng.randrange(len(samples))]
    after = used()
    connection.send([after[0] - before[0], after[1] - before[1]])
    connection.recv()  # stay alive, so that pages remain shared with the other worker


def used() -> tuple[float, float]:
    """Return USS and PSS in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return own / 1024, kilobytes["Pss"] / 1024


def measured(cache: Path, *arguments: object) -> list[float]:
    """Run a measurement in a new process with this cache."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--one", json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 250_000], help="numbers of rows to measure")
    parser.add_argument("--folder", help="folder to create files in; they are kept")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        function, *values = json.loads(arguments.one)
        print(json.dumps({"start": lambda *of: [start(*of)], "memory": memory}[function](*values)))
        return
    with tempfile.TemporaryDirectory() as folder:
        base = Path(arguments.folder or folder)
        print("| data set | rows | first start, s | second start, s |", "| --- | ---: | ---: | ---: |", sep="\n")
        for rows in arguments.rows:
            root = base / str(rows)
            if not root.exists():
                make(root, rows)
            for name in DATA:
                cache = Path(folder) / f"cache_{name}_{rows}"
                first, second = (measured(cache, "start", name, str(root))[0] for _ in range(2))
                print(f"| `{name}` | {rows:,} | {first:.2f} | {second:.2f} |", flush=True)
        print()
        print("| samples | rows | looked at | USS, MB | PSS, MB |", "| --- | ---: | ---: | ---: | ---: |", sep="\n")
        for kind in ("list", "index"):
            for rows in arguments.rows:
                for looks in (1_000, 100_000):
                    cache = Path(folder) / f"cache_csv_{rows}"
                    own, share = measured(cache, "memory", "csv", str(base / str(rows)), kind, looks)
                    print(f"| {kind} | {rows:,} | {looks:,} | {own:+.1f} | {share:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
