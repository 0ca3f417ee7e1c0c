"""Kinetics-Sounds: the classes of Kinetics-400 that one can both see and hear.

Where from:
    Kinetics-400, see :mod:`vidcore_datasets.kinetics`; there are no files besides.

Licence:
    That of Kinetics-400.

Splits:
    Those of Kinetics-400; 1,544 of its validation clips are of these classes (counted). AdaMML reports 22,521 and 1,532
    videos, as many as could still be had.

Test:
    Where ``test.csv`` has no labels, ``test`` uses ``val``.

Citation:
    Arandjelović and Zisserman, Look, Listen and Learn, ICCV 2017.

The class list is a moving target. The paper names 34 classes of a Kinetics that was not out yet; some were renamed or
dropped, and users took 31, 32 (with "strumming guitar"), 33 or 34 of them. Results on different lists are not
comparable. :data:`CLASSES` are the 31 of AdaMML, as its authors give them (https://github.com/IBM/AdaMML/issues/3).
"""

from __future__ import annotations

from pathlib import Path

from vidcore_datasets.annotations import Annotations, with_classes
from vidcore_datasets.kinetics import EDITIONS, read_kinetics
from vidcore_datasets.published import Published, PublishedData

CLASSES = (
    "blowing nose",
    "blowing out candles",
    "bowling",
    "chopping wood",
    "dribbling basketball",
    "laughing",
    "mowing lawn",
    "playing accordion",
    "playing bagpipes",
    "playing bass guitar",
    "playing clarinet",
    "playing drums",
    "playing guitar",
    "playing harmonica",
    "playing keyboard",
    "playing organ",
    "playing piano",
    "playing saxophone",
    "playing trombone",
    "playing trumpet",
    "playing violin",
    "playing xylophone",
    "ripping paper",
    "shoveling snow",
    "shuffling cards",
    "singing",
    "stomping grapes",
    "tap dancing",
    "tapping guitar",
    "tapping pen",
    "tickling",
)


def read_kinetics_sounds(root: str | Path, annotation_folder: str | Path | None = None) -> Annotations:
    """The clips of :data:`CLASSES` in the annotation files of Kinetics-400.

    Args:
        root: The folder with the videos of Kinetics-400, all or these.
        annotation_folder: See :func:`~vidcore_datasets.kinetics.read_kinetics`.

    Returns:
        A single-label task and its samples; a sample's id is the clip's name, ``ID_000010_000020``.

    Raises:
        UserError: See :func:`~vidcore_datasets.kinetics.read_kinetics`.
    """
    return with_classes(read_kinetics(root, "kinetics400", annotation_folder), CLASSES)


class KineticsSounds(PublishedData):
    """Kinetics-Sounds, see :mod:`vidcore_datasets.kinetics_sounds`.

    Args:
        root: The folder with the videos of Kinetics-400.
        **kwargs: See :class:`~vidcore_datasets.published.PublishedData`.
    """

    published = Published("kinetics_sounds", EDITIONS["kinetics400"].url, len(CLASSES), {"val": 1544})

    def read(self) -> Annotations:
        """What the CSV files list of these classes."""
        return read_kinetics_sounds(self.root, self.annotation_folder)
