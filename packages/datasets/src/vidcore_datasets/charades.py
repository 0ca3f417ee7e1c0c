"""Charades: 157 everyday actions, several per video, acted at home by 267 people for half a minute.

Source:
    https://prior.allenai.org/projects/charades: ``Charades_v1/ID.mp4``, ``Charades_v1_480/ID.mp4``, or frames in
    ``Charades_v1_rgb/ID`` at 24 fps; ``Charades_v1_train.csv``, ``Charades_v1_test.csv``, ``Charades_v1_classes.txt``.

Licence:
    Custom: non-commercial research, no redistribution of the videos.

Splits:
    7,985 train and 1,863 test videos, of which 174 and 49 have no action; 157 classes. Counted in the official files.

Test:
    Videos without an action are left out, as in the official ``Charades_v1_classify.m``; 7,811 and 1,814 remain.
    ``val`` uses ``test``, as in the literature.

Citation:
    Sigurdsson et al., Hollywood in Homes: Crowdsourcing Data Collection for Activity Understanding, ECCV 2016.
"""

from __future__ import annotations

from pathlib import Path

from vidcore.classes import checked_classes
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.tables import read_table
from vidcore_datasets.text import read_lines

PUBLISHED = Published(
    "charades", "https://prior.allenai.org/projects/charades", classes=157, sizes={"train": 7_811, "test": 1_814}
)


def read_charades(root: str | Path, annotation_folder: str | Path | None = None) -> Annotations:
    """Read the official CSV files; a video has all actions that occur in it.

    Args:
        root: Folder that contains ``Charades_v1``.
        annotation_folder: Folder with the CSV files. Default: ``root`` or ``root/annotations``.

    Returns:
        A multi-label task and its samples: ``train`` and ``test``. A sample's id is the video's id.

    Raises:
        UserError: A file is missing or invalid.
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
    """Return each video's id and the indices of its actions, from ``c092 11.90 21.20;c147 0.00 12.60``."""
    lines = read_table(path)
    _, header = next(lines, (1, []))
    if not {"id", "actions"} <= set(header):
        raise UserError(f"{path}, line 1: expected the columns id and actions, got {', '.join(header) or 'none'}")
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
    """Charades, see [`vidcore_datasets.charades`][].

    Args:
        root: Folder that contains ``Charades_v1``.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    published = PUBLISHED

    def read(self) -> Annotations:
        """Read the CSV files."""
        return read_charades(self.root, self.annotation_folder)
