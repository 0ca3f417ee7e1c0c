"""Something-Something V1: actions with objects, such as "Pushing something from left to right", a few seconds each.

Source:
    Published by TwentyBN; Qualcomm, its successor, provides only V2 and Jester:
    https://developer.qualcomm.com/software/ai-datasets/something-something. Frames in
    ``20bn-something-something-v1/ID/00001.jpg`` …, at 12 fps; ``something-something-v1-labels.csv``, ``-train.csv``,
    ``-validation.csv``.

Licence:
    Custom: research only, no redistribution.

Splits:
    86,017 train, 11,522 val, 10,960 test; 174 classes. Figures as cited; the test figure is from secondary sources.

Test:
    The test labels were never published: ``test`` uses ``val``, as in the literature.

Citation:
    Goyal et al., The "something something" video database for learning and evaluating visual common sense, ICCV 2017.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidcore.video.transforms import Augment
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData
from vidcore_datasets.twentybn import read_id_lists

PUBLISHED = Published(
    "ssv1",
    "https://developer.qualcomm.com/software/ai-datasets/something-something",
    classes=174,
    sizes={"train": 86_017, "val": 11_522},
)


def read_ssv1(root: str | Path, annotation_folder: str | Path | None = None) -> Annotations:
    """Read the lists of Something-Something V1; ``test`` equals ``val``, as in the literature.

    Args:
        root: Folder that contains ``20bn-something-something-v1``.
        annotation_folder: Folder with the lists. Default: ``root``, ``root/annotations`` or ``root/labels``.

    Returns:
        A single-label task and its samples. A sample's path is a folder of frames, its id the folder's name.

    Raises:
        UserError: A file is missing or invalid.
    """
    return read_id_lists(root, annotation_folder, PUBLISHED, "20bn-something-something-v1", official_test=False)


class SSv1(PublishedData):
    """Something-Something V1, see [`vidcore_datasets.ssv1`][].

    Args:
        root: Folder that contains ``20bn-something-something-v1``.
        augment: Random transforms of training clips. Default: no horizontal flip, since left and right are classes.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    published = PUBLISHED

    def __init__(self, root: str, augment: Augment = Augment(hflip=0.0), **kwargs: Any) -> None:
        super().__init__(root, augment=augment, **kwargs)

    def read(self) -> Annotations:
        """Read the annotation lists."""
        return read_ssv1(self.root, self.annotation_folder)
