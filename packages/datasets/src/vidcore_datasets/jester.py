"""Jester: 27 hand gestures in front of a laptop camera, such as "Swiping Left", three seconds each.

Source:
    https://developer.qualcomm.com/software/ai-datasets/jester, formerly TwentyBN. Frames in
    ``20bn-jester-v1/ID/00001.jpg`` …, at 12 fps; ``jester-v1-labels.csv``, ``-train.csv``, ``-validation.csv``, or
    from Qualcomm ``labels/labels.csv``, ``train.csv``, ``validation.csv``, ``test-answers.csv``.

Licence:
    Custom: research only, no redistribution.

Splits:
    118,562 train, 14,787 val, 14,743 test; 27 classes. Counted in the official files.

Test:
    ``test`` uses ``val``, as in the literature; ``official_test`` uses ``test-answers.csv`` (the only file that the
    reader has not been tested on).

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
    """Read the lists of Jester V1.

    Args:
        root: Folder that contains ``20bn-jester-v1``.
        annotation_folder: Folder with the lists. Default: ``root``, ``root/annotations`` or ``root/labels``.
        official_test: If True, ``test`` is read from ``test-answers.csv``. If False, it equals ``val``, as the
            literature reports. Default: False.

    Returns:
        A single-label task and its samples. A sample's path is a folder of frames, its id the folder's name.

    Raises:
        UserError: A file is missing or invalid.
    """
    return read_id_lists(root, annotation_folder, PUBLISHED, "20bn-jester-v1", official_test)


class Jester(PublishedData):
    """Jester, see [`vidcore_datasets.jester`][].

    Args:
        root: Folder that contains ``20bn-jester-v1``.
        official_test: Test on ``test-answers.csv`` instead of ``val``. Default: False, as in the literature.
        augment: Random transforms of training clips. Default: no horizontal flip, since left and right are classes.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(
        self, root: str, official_test: bool = False, augment: Augment = Augment(hflip=0.0), **kwargs: Any
    ) -> None:
        super().__init__(root, augment=augment, **kwargs)
        self.official_test = official_test
        self.published = with_test(PUBLISHED, 14_743) if official_test else PUBLISHED

    def read(self) -> Annotations:
        """Read the annotation lists."""
        return read_jester(self.root, self.annotation_folder, self.official_test)
