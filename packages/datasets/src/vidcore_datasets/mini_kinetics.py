"""Mini-Kinetics: two different subsets of Kinetics-400 with 200 of its classes.

Source:
    Videos and annotations: Kinetics-400, see [`vidcore_datasets.kinetics`][]. The selection is defined by two text
    files beside its annotations. The two selections share only the name and the number of classes:

    - ``ar_net``, used by AR-Net, AdaFuse, AdaFocus and most work on efficient video recognition:
      ``mini_train_videofolder.txt`` and ``mini_val_videofolder.txt``, lines of ``PATH/ID_000010_000020 FRAMES CLASS``,
      linked at https://github.com/mengyuest/AR-Net/issues/6.
    - ``s3d``, of S3D: ``train_ytid_list.txt`` and ``val_ytid_list.txt``, one YouTube id per line, from
      https://github.com/s9xie/Mini-Kinetics-200.

Licence:
    That of Kinetics-400. The lists state none.

Splits:
    ``ar_net``: 121,215 train and 9,867 val according to the papers; available copies of the lists have some 150 fewer
    (not counted). ``s3d``: 80,000 (400 per class) and 5,000 (25 per class), counted; all 5,000 are in ``val.csv``.

Test:
    There is no test split: ``test`` uses ``val``.

Citation:
    Meng et al., AR-Net: Adaptive Frame Resolution for Efficient Action Recognition, ECCV 2020; Xie et al., Rethinking
    Spatiotemporal Feature Learning, ECCV 2018.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Literal

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore_datasets.annotations import Annotations, with_classes
from vidcore_datasets.kinetics import read_kinetics
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.splits import first_few
from vidcore_datasets.text import read_lines

logger = logging.getLogger(__name__)

Lists = Literal["ar_net", "s3d"]

EDITIONS: dict[Lists, Published] = {
    "ar_net": Published(
        "mini_kinetics", "https://github.com/mengyuest/AR-Net/issues/6", 200, {"train": 121_215, "val": 9_867}
    ),
    "s3d": Published(
        "mini_kinetics_s3d", "https://github.com/s9xie/Mini-Kinetics-200", 200, {"train": 80_000, "val": 5_000}
    ),
}
"""Published figures by list."""

_FILES = {"ar_net": "mini_{}_videofolder.txt", "s3d": "{}_ytid_list.txt"}
# Class names before the id may contain blanks and slashes.
_ID = re.compile(r"(?:.*/)?([\w-]{11})(?:_\d{6}_\d{6})?(?:\.\w+)?(?:[ ;]+\d+){0,2}")


def read_mini_kinetics(
    root: str | Path, lists: Lists = "ar_net", annotation_folder: str | Path | None = None
) -> Annotations:
    """Read the clips of Kinetics-400 that two text files list by their YouTube ids.

    Labels are taken from Kinetics-400's own ``train.csv`` and ``val.csv``; numbers in the lists are ignored.

    Args:
        root: Folder with all videos of Kinetics-400, or the selected ones.
        lists: Selection: ``ar_net`` or ``s3d``. Default: ``ar_net``.
        annotation_folder: Folder with the lists and the CSV files. Default: ``root`` or ``root/annotations``.

    Returns:
        A single-label task, its classes those that occur, sorted by name, and its samples: ``train`` and ``val``. A
        sample's id is the clip's name, ``ID_000010_000020``.

    Raises:
        UserError: A file is missing or invalid, or none of its ids is in Kinetics-400.
    """
    published = EDITIONS[lists]
    whole = read_kinetics(root, "kinetics400", annotation_folder)
    samples: dict[str, list[Sample]] = {}
    for split in ("train", "val"):
        file = official_file(root, (_FILES[lists].format(split),), published, annotation_folder)
        by_id = {sample.id[:11]: sample for sample in whole.samples[split]}
        ids = list(dict.fromkeys(_ids(file)))
        samples[split] = [by_id[name] for name in ids if name in by_id]
        unknown = [name for name in ids if name not in by_id]
        if not samples[split]:
            raise UserError(f"{file} lists no clip of Kinetics-400's {split}.csv")
        if unknown:
            logger.warning("%s lists clips missing from Kinetics-400's %s.csv: %s", file, split, first_few(unknown))
    names = {whole.task.classes[sample.target] for part in samples.values() for sample in part}
    return with_classes(Annotations(whole.task, samples), sorted(names))


def _ids(file: Path) -> list[str]:
    ids = []
    for number, line in read_lines(file):
        match = _ID.fullmatch(line)
        if not match:
            raise UserError(f"{file}, line {number}: no YouTube id in {line!r}")
        ids.append(match[1])
    return ids


class MiniKinetics(PublishedData):
    """Mini-Kinetics, see [`vidcore_datasets.mini_kinetics`][].

    Args:
        root: Folder with the videos of Kinetics-400.
        lists: Selection: ``ar_net`` (121,215 and 9,867 clips) or ``s3d`` (80,000 and 5,000). Default: ``ar_net``.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(self, root: str, lists: Lists = "ar_net", **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.lists = lists
        self.published = EDITIONS[lists]

    def read(self) -> Annotations:
        """Read the annotation lists."""
        return read_mini_kinetics(self.root, self.lists, self.annotation_folder)
