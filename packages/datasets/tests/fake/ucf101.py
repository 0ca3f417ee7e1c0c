"""UCF101."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_clip

CLASSES = ("ApplyEyeMakeup", "Archery", "HandstandPushups", "YoYo")


def make(root: Path) -> None:
    """Write ``UCF-101/CLASS/v_CLASS_g01_c01.avi`` and ``ucfTrainTestlist``, with Windows line endings as published."""
    lists = {f"{split}list{fold:02d}": [] for split in ("train", "test") for fold in (1, 2, 3)}
    for index, label in enumerate(CLASSES):
        for group in (1, 2, 3):
            name = f"{label}/v_{label}_g{group:02d}_c01.avi"
            write_clip(root / "UCF-101" / name, index)
            for fold in (1, 2, 3):
                if group == fold:
                    lists[f"testlist{fold:02d}"].append(name)
                else:
                    lists[f"trainlist{fold:02d}"].append(f"{name} {index + 1}")
    lists["classInd"] = [f"{index + 1} {label}" for index, label in enumerate(CLASSES)]
    (root / "ucfTrainTestlist").mkdir(exist_ok=True)
    for name, lines in lists.items():
        (root / "ucfTrainTestlist" / f"{name}.txt").write_bytes(("\r\n".join(lines) + "\r\n").encode())
