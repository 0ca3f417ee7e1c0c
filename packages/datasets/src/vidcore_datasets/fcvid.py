"""FCVID, the Fudan-Columbia Video Dataset: 239 events, objects and scenes in web videos of minutes.

Where from:
    https://fvl.fudan.edu.cn/dataset/fcvid/list.htm, on request: videos,
    ``materials/FCVID_VideoName_TrainTestSplit.txt``, ``materials/FCVID_Label.txt``.

Licence:
    Annotations: of its own, research only. Videos: their uploaders'.

Splits:
    91,223 videos, 45,611 train and 45,612 test; 239 classes. The sum is the owner's, the parts by hearsay. The
    reader follows how public code reads the files and has not been tried on the owner's; no file with the classes'
    names is known.

Test:
    ``val`` uses ``test``, as in the literature.

Citation:
    Jiang et al., Exploiting Feature and Class Relationships in Video Categorization with Regularized Deep Neural
    Networks, TPAMI 2018.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidcore.classes import checked_classes
from vidcore.dataset import Sample
from vidcore.errors import UserError
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.text import read_lines

PUBLISHED = Published(
    "fcvid", "https://fvl.fudan.edu.cn/dataset/fcvid/list.htm", classes=239, sizes={"train": 45_611, "test": 45_612}
)


def read_fcvid(
    root: str | Path, annotation_folder: str | Path | None = None, class_names: str | Path | None = None
) -> Annotations:
    """Reads ``FCVID_VideoName_TrainTestSplit.txt`` (``PATH SPLIT``) and ``FCVID_Label.txt`` (a row of 0 and 1).

    Args:
        root: The folder with the videos.
        annotation_folder: Where the two files are; ``root/materials`` if not given.
        class_names: A text file with the name of a class in each line, in the order of the columns; if not given, they
            are called by their numbers, from 0.

    Returns:
        Multi-label, with ``train`` and ``test``; a sample's id is its path in the list, without ending.

    Raises:
        UserError: A file is missing or cannot be understood, or the two are not of one length.
    """
    folder = annotation_folder or Path(root, "materials")
    split_file = official_file(root, ("FCVID_VideoName_TrainTestSplit.txt",), PUBLISHED, folder)
    label_file = official_file(root, ("FCVID_Label.txt",), PUBLISHED, folder)
    videos, rows = read_lines(split_file), read_lines(label_file)
    if len(videos) != len(rows):
        raise UserError(f"{split_file} lists {len(videos)} videos, {label_file} has {len(rows)} rows")
    root = Path(root)
    samples: dict[str, list[Sample]] = {"train": [], "test": []}
    columns = len(rows[0][1].split()) if rows else 0
    for (number, line), (row, values) in zip(videos, rows, strict=True):
        name, _, split = (part.strip() for part in line.replace("\t", " ").rpartition(" "))
        if split not in samples or not name:
            raise UserError(f"{split_file}, line {number}: {line!r} is not a path and train or test")
        cells = values.split()
        if len(cells) != columns or not set(cells) <= {"0", "1"}:
            raise UserError(f"{label_file}, line {row}: expected {columns} times 0 or 1")
        target = tuple(column for column, cell in enumerate(cells) if cell == "1")
        path = name.replace("\\", "/")
        samples[split].append(Sample(f"{root}/{path}", target, id=path.rpartition(".")[0] or path))
    names = tuple(map(str, range(columns)))
    if class_names:
        names = checked_classes(read_lines(class_names), class_names)
    if len(names) != columns:
        raise UserError(f"{class_names} names {len(names)} classes, {label_file} has {columns}")
    return Annotations(Task("multi_label", names), samples)


class FCVID(PublishedData):
    """FCVID, see :mod:`vidcore_datasets.fcvid`.

    Args:
        root: The folder with the videos.
        class_names: A text file with the classes' names, one a line.
        **kwargs: See :class:`~vidcore_datasets.published.PublishedData`; annotations are in ``root/materials`` if not
            said otherwise.
    """

    published = PUBLISHED

    def __init__(self, root: str, class_names: str | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.class_names = class_names

    def read(self) -> Annotations:
        """What the two files list."""
        return read_fcvid(self.root, self.annotation_folder, self.class_names)
