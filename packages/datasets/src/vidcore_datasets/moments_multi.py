"""Multi-Moments in Time: three-second videos of events, several classes each, in two versions.

Source:
    http://moments.csail.mit.edu, after filling in a form: an archive with ``trainingSet.txt``, ``validationSet.txt``,
    ``moments_categories.txt``, ``videos/``.

Licence:
    Custom (in the archive): research and teaching only.

Splits:
    About a million train, 10,000 val. Version 1: 313 classes, as in the paper. Version 2: 305, as in the authors'
    models. Exact sizes are not known, so only the number of classes is compared. The reader follows public code for
    these files; it has not been tested on the official files.

Test:
    The test labels are not public: ``test`` uses ``val``.

Citation:
    Monfort et al., Multi-Moments in Time: Learning and Interpreting Models for Multi-Action Video Understanding, TPAMI
    2022, arXiv:1911.00232.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.tables import read_table

Version = Literal[1, 2]

VERSIONS: dict[Version, Published] = {
    1: Published("moments_multi", "http://moments.csail.mit.edu", classes=313, sizes={}),
    2: Published("moments_multi", "http://moments.csail.mit.edu", classes=305, sizes={}),
}
"""Published figures by version; both versions use the same file format."""


def read_moments_multi(root: str | Path, annotation_folder: str | Path | None = None) -> Annotations:
    """Read the official ``moments_categories.txt`` (``CLASS,NUMBER``) and lists (``PATH,NUMBER,NUMBER,…``).

    Args:
        root: Folder that contains ``videos``.
        annotation_folder: Folder with the lists. Default: ``root`` or ``root/annotations``.

    Returns:
        A multi-label task, its classes in the order of ``moments_categories.txt``, and its samples: ``train`` and
        ``val``. A sample's id is its path in the list.

    Raises:
        UserError: A file is missing or invalid.
    """

    def file(name: str, *endings: str) -> Path:
        return official_file(root, [name + ending for ending in endings], VERSIONS[2], annotation_folder)

    path = file("moments_categories", ".txt")
    try:
        index = {name: int(number) for _, (name, number) in read_table(path)}
    except ValueError as error:
        raise UserError(f"{path}: expected lines of CLASS,NUMBER ({error})") from error
    classes = tuple(sorted(index, key=lambda name: index[name]))
    if sorted(index.values()) != list(range(len(classes))):
        raise UserError(f"{path}: the classes are not numbered from 0 to {len(classes) - 1}")
    samples = {
        "train": _read_list(file("trainingSet", ".txt", ".csv"), root, len(classes)),
        "val": _read_list(file("validationSet", ".txt", ".csv"), root, len(classes)),
    }
    return Annotations(Task("multi_label", classes), samples)


def _read_list(path: Path, root: str | Path, classes: int) -> list[Sample]:
    samples, folder = [], Path(root, "videos")
    for line, (name, *labels) in read_table(path):
        try:
            target = tuple(sorted({int(label) for label in labels}))
        except ValueError as error:
            raise UserError(f"{path}, line {line}: expected PATH,NUMBER,NUMBER,… ({error})") from error
        if not target or target[0] < 0 or target[-1] >= classes:
            raise UserError(f"{path}, line {line}: classes must be from 0 to {classes - 1}, got {labels}")
        samples.append(Sample(f"{folder}/{name}", target, id=name))
    return samples


class MomentsMulti(PublishedData):
    """Multi-Moments in Time, see [`vidcore_datasets.moments_multi`][].

    Args:
        root: Folder that contains ``videos``.
        version: 1 or 2: the published figures to compare with. Default: 2.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(self, root: str, version: Version = 2, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.published = VERSIONS[version]

    def read(self) -> Annotations:
        """Read the annotation lists."""
        return read_moments_multi(self.root, self.annotation_folder)
