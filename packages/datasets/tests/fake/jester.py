"""Jester in TwentyBN's layout."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_frames

CLASSES = ("Swiping Left", "Swiping Right", "No gesture")
SPLITS = {"train": {"34870": 0, "56557": 1, "129112": 2}, "validation": {"9223": 1, "107090": 0}}
ANSWERS = {"109621": 2, "145149": 1}


def make(root: Path) -> None:
    """Write TwentyBN's layout."""
    write_lists(root, "jester-v1-")
    for label, video in [(label, video) for videos in SPLITS.values() for video, label in videos.items()]:
        write_frames(root / "20bn-jester-v1" / video, label)


def write_lists(folder: Path, prefix: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}labels.csv").write_text("\n".join(CLASSES))
    (folder / f"{prefix}test.csv").write_text("\n".join(ANSWERS))
    for split, videos in SPLITS.items():
        (folder / f"{prefix}{split}.csv").write_text("\n".join(f"{v};{CLASSES[k]}" for v, k in videos.items()))
