"""Jester: 27 gestures before the camera of a laptop, such as "Swiping Left", in three seconds.

Where from:
    https://developer.qualcomm.com/software/ai-datasets/jester, before from TwentyBN. Frames in
    ``20bn-jester-v1/ID/00001.jpg`` …, 12 a second; ``jester-v1-labels.csv``, ``-train.csv``, ``-validation.csv``, or
    from Qualcomm ``labels/labels.csv``, ``train.csv``, ``validation.csv``, ``test-answers.csv``.

Licence:
    Of its own: research only, and nothing may be passed on.

Splits:
    118,562 train, 14,787 val, 14,743 test; 27 classes. Counted in the owner's files.

Test:
    ``test`` uses ``val``, as in the literature; ``official_test`` takes what ``test-answers.csv`` lists; of these
    files that one alone has not been tried.

Citation:
    Materzynska et al., The Jester Dataset: A Large-Scale Video Dataset of Human Gestures, ICCV Workshops 2019.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidcore.video.transforms import Augment
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData
from vidcore_datasets.twentybn import read_id_lists, with_test

PUBLISHED = Published(
    "jester",
    "https://developer.qualcomm.com/software/ai-datasets/jester",
    classes=27,
    sizes={"train": 118_562, "val": 14_787},
)


def read_jester(
    root: str | Path, annotation_folder: str | Path | None = None, official_test: bool = False
) -> Annotations:
    """Reads the lists of Jester V1.

    Args:
        root: The folder with ``20bn-jester-v1``.
        annotation_folder: Where the lists are; ``root`` or a folder ``annotations`` or ``labels`` in it if not given.
        official_test: Whether ``test`` is what ``test-answers.csv`` lists, and not validation again, which is what the
            literature reports.

    Returns:
        Single label; a sample's path is a folder of frames, its id the folder's name.

    Raises:
        UserError: A file is missing or cannot be understood.
    """
    return read_id_lists(root, annotation_folder, PUBLISHED, "20bn-jester-v1", official_test)


class Jester(PublishedData):
    """Jester, see :mod:`vidcore_datasets.jester`.

    Args:
        root: The folder with ``20bn-jester-v1``.
        official_test: Test on what ``test-answers.csv`` lists, and not on validation as the literature does.
        augment: The random transforms of training; the default does not mirror, since left and right are classes.
        **kwargs: See :class:`~vidcore_datasets.published.PublishedData`.
    """

    def __init__(
        self, root: str, official_test: bool = False, augment: Augment = Augment(hflip=0.0), **kwargs: Any
    ) -> None:
        super().__init__(root, augment=augment, **kwargs)
        self.official_test = official_test
        self.published = with_test(PUBLISHED, 14_743) if official_test else PUBLISHED

    def read(self) -> Annotations:
        """What the lists name."""
        return read_jester(self.root, self.annotation_folder, self.official_test)
