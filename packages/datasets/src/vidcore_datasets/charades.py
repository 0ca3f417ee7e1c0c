"""Charades: 157 everyday actions, several a video, acted at home by 267 people for half a minute.

Where from:
    https://prior.allenai.org/projects/charades: ``Charades_v1/ID.mp4``, ``Charades_v1_480/ID.mp4``, or frames in
    ``Charades_v1_rgb/ID``, 24 a second; ``Charades_v1_train.csv``, ``Charades_v1_test.csv``,
    ``Charades_v1_classes.txt``.

Licence:
    Of its own: non-commercial research, and the videos may not be passed on.

Splits:
    7,985 train, 1,863 test, of which 174 and 49 are without an action; 157 classes. Counted in the owner's files.

Test:
    Videos without an action are left out, as the official ``Charades_v1_classify.m`` does, so 7,811 and 1,814 remain.
    ``val`` uses ``test``, as in the literature.

Citation:
    Sigurdsson et al., Hollywood in Homes: Crowdsourcing Data Collection for Activity Understanding, ECCV 2016.
"""

from __future__ import annotations

from pathlib import Path

from vidcore.classes import checked_classes
from vidcore.dataset import Sample
from vidcore.errors import UserError
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.tables import read_table
from vidcore_datasets.text import read_lines

PUBLISHED = Published(
    "charades", "https://prior.allenai.org/projects/charades", classes=157, sizes={"train": 7_811, "test": 1_814}
)


def read_charades(root: str | Path, annotation_folder: str | Path | None = None) -> Annotations:
    """Reads the CSV files as published; a video has each action that occurs in it.

    Args:
        root: The folder with ``Charades_v1``.
        annotation_folder: Where the CSV files are; ``root`` or ``root/annotations`` if not given.

    Returns:
        Multi-label, with ``train`` and ``test``; a sample's id is the video's.

    Raises:
        UserError: A file is missing or cannot be understood.
    """

    def file(name: str) -> Path:
        return official_file(root, (f"Charades_v1_{name}",), PUBLISHED, annotation_folder)

    path = file("classes.txt")
    lines = [(number, line.partition(" ")) for number, line in read_lines(path) if " " in line]
    codes = checked_classes(((number, code) for number, (code, _, _) in lines), path)
    classes = checked_classes(((number, name.strip()) for number, (_, _, name) in lines), path)
    index = {code: number for number, code in enumerate(codes)}
    samples = {
        split: [
            Sample(str(Path(root, "Charades_v1", f"{video}.mp4")), labels, id=video, fps=24.0)
            for video, labels in _rows(file(f"{split}.csv"), index)
            if labels
        ]
        for split in ("train", "test")
    }
    return Annotations(Task("multi_label", classes), samples)


def _rows(path: Path, index: dict[str, int]) -> list[tuple[str, tuple[int, ...]]]:
    """Each video's id and the indices of its actions, from ``c092 11.90 21.20;c147 0.00 12.60``."""
    lines = read_table(path)
    _, header = next(lines, (1, []))
    if not {"id", "actions"} <= set(header):
        raise UserError(f"{path}, line 1: no columns id and actions; there are {', '.join(header) or 'none'}")
    rows = []
    for line, cells in lines:
        row = dict(zip(header, cells, strict=False))
        codes = {action.split()[0] for action in row.get("actions", "").split(";") if action.strip()}
        unknown = sorted(codes - index.keys())
        if unknown:
            raise UserError(f"{path}, line {line}: {', '.join(unknown)} is not among the {len(index)} classes")
        rows.append((row["id"], tuple(sorted(index[code] for code in codes))))
    return rows


class Charades(PublishedData):
    """Charades, see :mod:`vidcore_datasets.charades`.

    Args:
        root: The folder with ``Charades_v1``.
        **kwargs: See :class:`~vidcore_datasets.published.PublishedData`.
    """

    published = PUBLISHED

    def read(self) -> Annotations:
        """What the CSV files list."""
        return read_charades(self.root, self.annotation_folder)
