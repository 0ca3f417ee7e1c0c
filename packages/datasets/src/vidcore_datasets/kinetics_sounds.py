"""Kinetics-Sounds: the classes of Kinetics-400 that can be both seen and heard.

Source:
    Kinetics-400, see [`vidcore_datasets.kinetics`][]; there are no further files.

Licence:
    That of Kinetics-400.

Splits:
    Those of Kinetics-400; 1,544 of its validation clips have these classes (counted). AdaMML reports 22,521 and 1,532
    videos, those that were still available.

Test:
    If ``test.csv`` has no labels, ``test`` uses ``val``.

Citation:
    Arandjelović and Zisserman, Look, Listen and Learn, ICCV 2017.

There is no definite list of classes. The paper names 34 classes of an unreleased version of Kinetics; some were renamed
or dropped, and later work used 31, 32 (with "strumming guitar"), 33 or 34 of them. Results on different lists are not
comparable. ``CLASSES`` are the 31 of AdaMML, as given by its authors (https://github.com/IBM/AdaMML/issues/3).
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
    """Read the clips of ``CLASSES`` from the annotation files of Kinetics-400.

    Args:
        root: Folder with all videos of Kinetics-400, or those of ``CLASSES``.
        annotation_folder: See [`read_kinetics`][vidcore_datasets.kinetics.read_kinetics].

    Returns:
        A single-label task and its samples; a sample's id is the clip's name, ``ID_000010_000020``.

    Raises:
        UserError: See [`read_kinetics`][vidcore_datasets.kinetics.read_kinetics].
    """
    return with_classes(read_kinetics(root, "kinetics400", annotation_folder), CLASSES)


class KineticsSounds(PublishedData):
    """Kinetics-Sounds, see [`vidcore_datasets.kinetics_sounds`][].

    Args:
        root: Folder with the videos of Kinetics-400.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    published = Published("kinetics_sounds", EDITIONS["kinetics400"].url, len(CLASSES), {"val": 1544})

    def read(self) -> Annotations:
        """Read the CSV files of these classes."""
        return read_kinetics_sounds(self.root, self.annotation_folder)
