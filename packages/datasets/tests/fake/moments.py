"""Moments in Time."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_clip

CLASSES = ("clapping", "adult+female+singing", "dropping", "burying")


def make(root: Path) -> None:
    """Write ``training``, ``validation``, ``trainingSet.csv``, ``validationSet.csv`` and ``moments_categories.txt``."""
    for folder, count in (("training", 2), ("validation", 1)):
        lines = []
        for index, label in enumerate(CLASSES):
            for number in range(count):
                name = f"{label}/yt-_0aVz{folder[0]}xRTCY_{number}.mp4"  # same name in several classes
                write_clip(root / folder / name, index)
                lines.append(f"{name},{label},{3 + number},0\n")
        (root / f"{folder}Set.csv").write_text("".join(lines))
    categories = [f"{label},{index}\n" for index, label in enumerate(CLASSES)]
    (root / "moments_categories.txt").write_text("".join(categories))
