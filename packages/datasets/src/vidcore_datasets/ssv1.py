"""Something-Something V1: what is done to some object, such as "Pushing something from left to right", in seconds.

Where from:
    TwentyBN gave it out; Qualcomm, who took over, hands out V2 and Jester:
    https://developer.qualcomm.com/software/ai-datasets/something-something. Frames in
    ``20bn-something-something-v1/ID/00001.jpg`` …, 12 a second; ``something-something-v1-labels.csv``, ``-train.csv``,
    ``-validation.csv``.

Licence:
    Of its own: research only, and nothing may be passed on.

Splits:
    86,017 train, 11,522 val, 10,960 test; 174 classes. As cited; the test figure by hearsay.

Test:
    Its labels were never published: ``test`` uses ``val``, as in the literature.

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
    """Reads the lists of Something-Something V1; ``test`` is validation again, as in the literature.

    Args:
        root: The folder with ``20bn-something-something-v1``.
        annotation_folder: Where the lists are; ``root`` or a folder ``annotations`` or ``labels`` in it if not given.

    Returns:
        Single label; a sample's path is a folder of frames, its id the folder's name.

    Raises:
        UserError: A file is missing or cannot be understood.
    """
    return read_id_lists(root, annotation_folder, PUBLISHED, "20bn-something-something-v1", official_test=False)


class SSv1(PublishedData):
    """Something-Something V1, see :mod:`vidcore_datasets.ssv1`.

    Args:
        root: The folder with ``20bn-something-something-v1``.
        augment: The random transforms of training; the default does not mirror, since left and right are classes.
        **kwargs: See :class:`~vidcore_datasets.published.PublishedData`.
    """

    published = PUBLISHED

    def __init__(self, root: str, augment: Augment = Augment(hflip=0.0), **kwargs: Any) -> None:
        super().__init__(root, augment=augment, **kwargs)

    def read(self) -> Annotations:
        """What the lists name."""
        return read_ssv1(self.root, self.annotation_folder)
