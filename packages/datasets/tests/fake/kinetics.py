"""Kinetics of any edition, with the lists of Mini-Kinetics."""

from __future__ import annotations

import csv
from pathlib import Path

from fake.clips import write_clip

CLASSES = ("air drumming", "bowling", "massaging person's head", "tap dancing")
NUMBERS = {"train": 2, "val": 1, "test": 1}


def make(root: Path) -> None:
    """Write ``SPLIT/CLASS/ID_START_END.mp4`` and ``annotations/SPLIT.csv`` in the official layout."""
    lists = {"train": [], "val": []}
    for split, count in NUMBERS.items():
        rows = []
        for index, label in enumerate(CLASSES):
            for number in range(count):
                video = f"-{split:_<5}{index:02d}{number:02d}x"  # eleven characters, like a YouTube id
                write_clip(root / split / label / f"{video}_{10 * number:06d}_{10 * number + 10:06d}.mp4", index)
                rows.append((label, video, 10 * number, 10 * number + 10, split, 0))
                if split in lists and index % 2 == 0:
                    lists[split].append(f"images/{split}/{label}/{rows[-1][1]}_000000_000010 250 {index // 2}")
        write_csv(root / "annotations" / f"{split}.csv", rows)
    for split, lines in lists.items():
        (root / "annotations" / f"mini_{split}_videofolder.txt").write_text("\n".join(lines) + "\n")


def make_flat(root: Path) -> None:
    """Write DeepMind's files without test labels, and the clips in split folders, not class folders."""
    make(root)
    annotations = root / "annotations"
    (annotations / "val.csv").rename(annotations / "validate.csv")
    rows = [row[1:] for row in csv.reader((annotations / "test.csv").open(newline=""))][1:]
    write_csv(annotations / "test.csv", rows, ("youtube_id", "time_start", "time_end", "split", "is_cc"))
    for split in NUMBERS:
        for number, clip in enumerate(sorted((root / split).rglob("*.mp4"))):
            folder = root / split / f"part_{number % 2}"
            folder.mkdir(exist_ok=True)
            clip.rename(folder / clip.name)


def write_csv(
    file: Path, rows: list, header: tuple = ("label", "youtube_id", "time_start", "time_end", "split", "is_cc")
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
