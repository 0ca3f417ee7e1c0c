"""Something-Something V1 in TwentyBN's layout."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_frames

CLASSES = ("Holding something", "Turning something upside down", "Pushing something from left to right")
TRAIN = {"100218": 2, "24413": 0, "38559": 1, "42326": 1}
VAL = {"74225": 2, "116154": 0}


def make(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    lists = {"labels": CLASSES, "test": ("1420", "42")}
    for split, videos in (("train", TRAIN), ("validation", VAL)):
        lists[split] = tuple(f"{video};{CLASSES[label]}" for video, label in videos.items())
        for video, label in videos.items():
            write_frames(root / "20bn-something-something-v1" / video, label)
    for name, lines in lists.items():
        (root / f"something-something-v1-{name}.csv").write_text("".join(f"{line}\n" for line in lines))
