"""FCVID, the Fudan-Columbia Video Dataset: 239 events, objects and scenes in web videos of several minutes.

Source:
    https://fvl.fudan.edu.cn/dataset/fcvid/list.htm, on request: videos,
    ``materials/FCVID_VideoName_TrainTestSplit.txt``, ``materials/FCVID_Label.txt``.

Licence:
    Annotations: custom, research only. Videos: copyright of the uploaders.

Splits:
    91,223 videos, 45,611 train and 45,612 test; 239 classes. The total is from the official page, the split sizes are
    from secondary sources. The reader follows public code for these files; it has not been tested on the official
    files. No official file with the class names is known.

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
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
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
    """Read ``FCVID_VideoName_TrainTestSplit.txt`` (``PATH SPLIT``) and ``FCVID_Label.txt`` (rows of 0 and 1).

    Args:
        root: Folder with the videos.
        annotation_folder: Folder with the two files. Default: ``root/materials``.
        class_names: Text file with one class name per line, in the order of the label columns. Default: class names are
            the column numbers, from 0.

    Returns:
        A multi-label task and its samples: ``train`` and ``test``. A sample's id is its path in the list, without
        suffix.

    Raises:
        UserError: A file is missing or invalid, or the two files differ in length.
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
            raise UserError(f"{split_file}, line {number}: expected a path and train or test, got {line!r}")
        cells = values.split()
        if len(cells) != columns or not set(cells) <= {"0", "1"}:
            raise UserError(f"{label_file}, line {row}: expected {columns} values of 0 or 1")
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
    """FCVID, see [`vidcore_datasets.fcvid`][].

    Args:
        root: Folder with the videos.
        class_names: Text file with one class name per line. Default: class names are numbers.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData]. Default of
            ``annotation_folder``: ``root/materials``.
    """

    published = PUBLISHED

    def __init__(self, root: str, class_names: str | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.class_names = class_names

    def read(self) -> Annotations:
        """Read the annotations."""
        return read_fcvid(self.root, self.annotation_folder, self.class_names)
