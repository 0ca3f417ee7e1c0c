"""UCF101: actions in YouTube videos, 101 classes, three folds.

Source:
    https://www.crcv.ucf.edu/data/UCF101.php: ``UCF101.rar`` (the folder ``UCF-101``) and
    ``UCF101TrainTestSplits-RecognitionTask.zip`` (the folder ``ucfTrainTestlist``).

Licence:
    None stated; the videos are copyright of their uploaders.

Splits:
    | fold | train | test  |
    | ---- | ----- | ----- |
    | 1    | 9,537 | 3,783 |
    | 2    | 9,586 | 3,734 |
    | 3    | 9,624 | 3,696 |

    Counted. Clips of the same source video (``g01`` to ``g25``) are on the same side of each fold: do not split
    randomly.

Test:
    There is no official validation split: ``val`` uses ``test``.

Citation:
    Soomro, Zamir and Shah, UCF101: A Dataset of 101 Human Actions Classes from Videos in the Wild, CRCV-TR-12-01, 2012.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from vidcore.classes import checked_classes
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.text import read_lines

Fold = Literal[1, 2, 3]

_URL = "https://www.crcv.ucf.edu/data/UCF101.php"

FOLDS: dict[Fold, Published] = {
    1: Published("ucf101", _URL, 101, {"train": 9_537, "test": 3_783}),
    2: Published("ucf101", _URL, 101, {"train": 9_586, "test": 3_734}),
    3: Published("ucf101", _URL, 101, {"train": 9_624, "test": 3_696}),
}
"""Published figures by fold."""


def read_ucf101(root: str | Path, fold: Fold = 1, annotation_folder: str | Path | None = None) -> Annotations:
    """Read the official ``classInd.txt``, ``trainlist01.txt`` and ``testlist01.txt``.

    Args:
        root: Folder with the videos.
        fold: 1, 2 or 3: the number in the names of the lists. Default: 1.
        annotation_folder: Folder with the lists. Default: ``root``, ``root/annotations`` or ``root/ucfTrainTestlist``.

    Returns:
        A single-label task, its classes in the order of ``classInd.txt``, and its samples: ``train`` and ``test``. A
        sample's id is its path in the list, ``CLASS/VIDEO.avi``.

    Raises:
        UserError: A file is missing or invalid.
    """

    def file(name: str) -> Path:
        places = ("annotations", "ucfTrainTestlist")
        return official_file(root, (name,), FOLDS[fold], annotation_folder, places)

    path = file("classInd.txt")
    classes = checked_classes(((number, line.partition(" ")[2].strip()) for number, line in read_lines(path)), path)
    index = {name: number for number, name in enumerate(classes)}
    samples: dict[str, list[Sample]] = {}
    for split in ("train", "test"):
        path = file(f"{split}list{fold:02d}.txt")
        samples[split] = []
        for number, line in read_lines(path):
            name = line.partition(" ")[0]  # the training list has the class number after the name
            label = name.partition("/")[0]
            if label not in index:
                raise UserError(f"{path}, line {number}: {label!r} is not among the classes of classInd.txt")
            samples[split].append(Sample(str(Path(root, "UCF-101", name)), index[label], id=name))
    return Annotations(Task("single_label", classes), samples)


class UCF101(PublishedData):
    """UCF101, see [`vidcore_datasets.ucf101`][].

    Args:
        root: Folder with the videos.
        fold: Official fold: 1, 2 or 3. Default: 1.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(self, root: str, fold: Fold = 1, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.fold = fold
        self.published = FOLDS[fold]

    def read(self) -> Annotations:
        """Read the annotation lists of the fold."""
        return read_ucf101(self.root, self.fold, self.annotation_folder)
