"""FCVID."""

from __future__ import annotations

from pathlib import Path

from fake.clips import write_clip

VIDEOS = (
    ("accordion/--4Gvgiu5JA.mp4", "train", "1 0 0"),
    ("panda/--5vhrWjd2E.flv", "train", "0 1 1"),
    ("panda/0a_b.c.mp4", "test", "0 1 0"),
    ("beach/zZ9.mp4", "test", "0 0 1"),
)


def make(root: Path) -> None:
    folder = root / "materials"
    folder.mkdir(parents=True)
    lines = "".join(f"{path}\t{split}\n" for path, split, _ in VIDEOS)
    (folder / "FCVID_VideoName_TrainTestSplit.txt").write_text(lines)
    (folder / "FCVID_Label.txt").write_text("".join(labels.replace(" ", "\t") + "\n" for *_, labels in VIDEOS))
    for path, _, labels in VIDEOS:
        write_clip(root / path, labels.index("1") // 2)
