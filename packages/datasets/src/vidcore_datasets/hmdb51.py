"""HMDB51: actions in films and web videos, 51 classes, three folds.

Source:
    https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/: ``hmdb51_org.rar`` (contains one
    archive per class) and ``test_train_splits.rar`` (the folder ``testTrainMulti_7030_splits``).

Licence:
    CC BY 4.0 according to the authors; the films are copyright of their owners.

Splits:
    Each fold: 3,570 train and 1,530 test, 70 and 30 per class (from the readme of the lists, not counted here). The
    other of the 6,766 clips are in neither.

Test:
    There is no official validation split: ``val`` uses ``test``.

Citation:
    Kuehne, Jhuang, Garrote, Poggio and Serre, HMDB: A Large Video Database for Human Motion Recognition, ICCV 2011.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.text import read_lines

Fold = Literal[1, 2, 3]

PUBLISHED = Published(
    "hmdb51",
    "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
    51,
    {"train": 3_570, "test": 1_530},
)

_SPLITS = {"0": None, "1": "train", "2": "test"}


def read_hmdb51(root: str | Path, fold: Fold = 1, annotation_folder: str | Path | None = None) -> Annotations:
    """Read the official ``CLASS_test_split1.txt`` of each class, with lines ``VIDEO.avi 1`` (train) or ``2`` (test).

    Args:
        root: Folder with the videos.
        fold: 1, 2 or 3: the number in the file names. Default: 1.
        annotation_folder: Folder with the files. Default: ``root``, ``root/annotations``,
            ``root/testTrainMulti_7030_splits`` or ``root/test_train_splits``.

    Returns:
        A single-label task, its classes sorted by name, and its samples: ``train`` and ``test``. A sample's id is
        ``CLASS/VIDEO.avi``.

    Raises:
        UserError: A file is missing or invalid.
    """
    ending = f"_test_split{fold}.txt"
    places = ("annotations", "testTrainMulti_7030_splits", "test_train_splits")
    folder = official_file(root, (f"*{ending}",), PUBLISHED, annotation_folder, places).parent
    files = {path.name.removesuffix(ending): path for path in folder.glob(f"*{ending}")}
    classes = tuple(sorted(files))
    samples: dict[str, list[Sample]] = {"train": [], "test": []}
    for index, label in enumerate(classes):
        for number, line in read_lines(files[label]):
            name, _, use = line.rpartition(" ")
            if not name or use not in _SPLITS:
                raise UserError(f"{files[label]}, line {number}: expected VIDEO.avi and 0, 1 or 2, got {line!r}")
            split = _SPLITS[use]
            if split:
                video = f"{label}/{name.strip()}"
                samples[split].append(Sample(str(Path(root, video)), index, id=video))
    return Annotations(Task("single_label", classes), samples)


class HMDB51(PublishedData):
    """HMDB51, see [`vidcore_datasets.hmdb51`][].

    Args:
        root: Folder with the videos.
        fold: Official fold: 1, 2 or 3. Default: 1.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    published = PUBLISHED

    def __init__(self, root: str, fold: Fold = 1, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.fold = fold

    def read(self) -> Annotations:
        """Read the annotation lists of the fold."""
        return read_hmdb51(self.root, self.fold, self.annotation_folder)
