"""HMDB51."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_clip

CLASSES = ("brush_hair", "cartwheel", "shoot_bow", "wave")
USES = {1: (1, 1, 2, 0), 2: (1, 2, 1, 0), 3: (2, 1, 1, 0)}
"""By fold, what each of a class's clips is for: 1 train, 2 test, 0 neither."""


def make(root: Path) -> None:
    """Write ``CLASS/VIDEO.avi``, with special characters as in official names, and ``testTrainMulti_7030_splits``."""
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True, exist_ok=True)
    for index, label in enumerate(CLASSES):
        names = [f"#20_Rhythm!_(clip)_{label}_u_nm_np1_ba_goo_{number}.avi" for number in range(4)]
        for name in names:
            write_clip(root / label / name, index)
        for fold, uses in USES.items():
            lines = [f"{name} {use} \n" for name, use in zip(names, uses, strict=True)]
            (lists / f"{label}_test_split{fold}.txt").write_text("".join(lines))
