"""Moments in Time: three-second videos of events, one class each, in two versions.

Source:
    http://moments.csail.mit.edu, after filling in a form: an archive with ``trainingSet.csv``, ``validationSet.csv``,
    ``moments_categories.txt``, ``training/`` and ``validation/``.

Licence:
    Custom (in the archive): research and teaching only.

Splits:
    Version 1: 802,264 train, 33,900 val, 339 classes. Version 2: 727,305 train, 30,500 val, 305 classes. The 305 are
    counted, the other figures are as cited.

Test:
    The test labels are not public: ``test`` uses ``val``.

Citation:
    Monfort et al., Moments in Time Dataset: One Million Videos for Event Understanding, TPAMI 2019, arXiv:1801.03150.

The version with several labels per video is another data set, Multi-Moments in Time
([`vidcore_datasets.moments_multi`][]).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.tables import read_table

Version = Literal[1, 2]

_URL = "http://moments.csail.mit.edu"

VERSIONS: dict[Version, Published] = {
    1: Published("moments", _URL, 339, {"train": 802_264, "val": 33_900}),
    2: Published("moments", _URL, 305, {"train": 727_305, "val": 30_500}),
}
"""Published figures by version; both versions use the same file format."""


def read_moments(root: str | Path, annotation_folder: str | Path | None = None) -> Annotations:
    """Read the official ``moments_categories.txt`` (``CLASS,NUMBER``), ``trainingSet.csv`` and ``validationSet.csv``.

    Their lines are ``CLASS/VIDEO.mp4,CLASS,`` and the numbers of annotators who agreed and disagreed, which are
    ignored.

    Args:
        root: Folder that contains ``training`` and ``validation``.
        annotation_folder: Folder with the three files. Default: ``root`` or ``root/annotations``.

    Returns:
        A single-label task, its classes in the order of ``moments_categories.txt``, and its samples: ``train`` and
        ``val``. A sample's id is its path in the list.

    Raises:
        UserError: A file is missing or invalid.
    """

    def file(name: str) -> Path:
        return official_file(root, (name,), VERSIONS[2], annotation_folder)

    path = file("moments_categories.txt")
    numbers: dict[str, int] = {}
    for line, cells in read_table(path):
        if len(cells) != 2 or not re.fullmatch(r"\d{1,9}", cells[1].strip()):
            raise UserError(f"{path}, line {line}: expected CLASS,NUMBER, got {','.join(cells)!r}")
        if cells[0] in numbers:
            raise UserError(f"{path}, line {line}: class {cells[0]!r} is already listed")
        numbers[cells[0]] = int(cells[1])
    classes = tuple(sorted(numbers, key=lambda name: numbers[name]))
    index = {name: number for number, name in enumerate(classes)}
    samples: dict[str, list[Sample]] = {}
    for split, name, folder in (("train", "trainingSet.csv", "training"), ("val", "validationSet.csv", "validation")):
        path, above = file(name), Path(root, folder)
        samples[split] = []
        for line, cells in read_table(path):
            if len(cells) < 2 or cells[1] not in index:
                raise UserError(f"{path}, line {line}: no class of moments_categories.txt in {','.join(cells)!r}")
            samples[split].append(Sample(f"{above}/{cells[0]}", index[cells[1]], id=cells[0]))
    return Annotations(Task("single_label", classes), samples)


class Moments(PublishedData):
    """Moments in Time, see [`vidcore_datasets.moments`][].

    Args:
        root: Folder that contains ``training`` and ``validation``.
        version: 1 or 2: the published figures to compare with. Default: 2.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(self, root: str, version: Version = 2, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.published = VERSIONS[version]

    def read(self) -> Annotations:
        """Read the annotation lists."""
        return read_moments(self.root, self.annotation_folder)
