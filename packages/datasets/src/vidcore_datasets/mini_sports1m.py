"""Mini-Sports1M: a few videos of each of the 487 sports of Sports-1M. There are two.

Where from:
    ``labels.txt``: https://github.com/gtoderici/sports-1m-dataset. Which videos, and with which label: two lists, of
    one of two makers, whose videos differ:

    - ``adamml``, of AdaMML: ``train_minisports1m.txt`` and ``test_minisports1m.txt``, attached to
      https://github.com/IBM/AdaMML/issues/1; the videos have to be got from YouTube.
    - ``bear``, of the BEAR benchmark: ``train.csv`` and ``test.csv``, and its videos, from
      https://github.com/AndongDeng/BEAR (``datasets/mini-Sports1M``).

Licence:
    Sports-1M's annotations: CC BY 3.0. Videos: their uploaders'.

Splits:
    ``adamml``: 14,610 train (30 a class), 4,870 test (10 a class), not counted. ``bear``: 19,459 and 4,870, counted.

Test:
    There is no validation split: ``val`` uses ``test``.

Citation:
    Karpathy et al., Large-scale Video Classification with Convolutional Neural Networks, CVPR 2014; Panda et al.,
    AdaMML: Adaptive Multi-Modal Learning for Efficient Video Recognition, ICCV 2021; Deng et al., A Large-scale Study
    of Spatiotemporal Representation Learning with a New Benchmark on Action Recognition, ICCV 2023.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from vidcore.classes import checked_classes
from vidcore.dataset import Sample
from vidcore.errors import UserError
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.text import read_lines

Lists = Literal["adamml", "bear"]

EDITIONS: dict[Lists, Published] = {
    "adamml": Published(
        "mini_sports1m", "https://github.com/IBM/AdaMML/issues/1", 487, {"train": 14_610, "test": 4_870}
    ),
    "bear": Published(
        "mini_sports1m_bear", "https://github.com/AndongDeng/BEAR", 487, {"train": 19_459, "test": 4_870}
    ),
}
"""What the makers of the lists say."""

_FILES = {"adamml": "{}_minisports1m.txt", "bear": "{}.csv"}
_LINE = re.compile(r"(?:https?://\S*[?&]v=)?(?P<name>[^;]+?)(?:[ ;]+\d+){0,2}[ ;]+(?P<label>\d{1,9})(?:,\d+)*")


def read_mini_sports1m(
    root: str | Path, lists: Lists = "adamml", annotation_folder: str | Path | None = None
) -> Annotations:
    """Reads ``labels.txt``, a class a line, and lists of videos with the numbers of their classes.

    A line is a YouTube address, an id or a path, optionally the number of frames or of the first and the last, and the
    class's number, counted from 0, parted by blanks or ``;``: ``https://www.youtube.com/watch?v=UDqivjS-lpI 168``.
    Where a video has several classes (``168,169``), it counts as the first.

    Args:
        root: The folder with the videos, named as in the lists.
        lists: Whose.
        annotation_folder: Where the three files are; ``root`` or ``root/annotations`` if not given.

    Returns:
        A single-label task, its classes in the order of ``labels.txt``, and its samples: ``train`` and ``test``. A
        sample's id is the YouTube id, or the path in the list.

    Raises:
        UserError: A file is missing or cannot be understood.
    """

    def file(name: str) -> Path:
        return official_file(root, (name,), EDITIONS[lists], annotation_folder)

    classes = checked_classes(read_lines(file("labels.txt")), file("labels.txt"))
    samples: dict[str, list[Sample]] = {}
    for split in ("train", "test"):
        path = file(_FILES[lists].format(split))
        samples[split] = []
        for number, line in read_lines(path):
            match = _LINE.fullmatch(line)
            if not match or int(match["label"]) >= len(classes):
                raise UserError(f"{path}, line {number}: {line!r} is not VIDEO CLASS, a number below {len(classes)}")
            name = match["name"]
            samples[split].append(Sample(str(Path(root, f"{name}.mp4")), int(match["label"]), id=name))
    return Annotations(Task("single_label", classes), samples)


class MiniSports1M(PublishedData):
    """Mini-Sports1M, see :mod:`vidcore_datasets.mini_sports1m`.

    Args:
        root: The folder with the videos.
        lists: Whose selection: ``adamml`` (14,610 and 4,870 videos) or ``bear`` (19,459 and 4,870).
        **kwargs: See :class:`~vidcore_datasets.published.PublishedData`.
    """

    def __init__(self, root: str, lists: Lists = "adamml", **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.lists = lists
        self.published = EDITIONS[lists]

    def read(self) -> Annotations:
        """What the lists name."""
        return read_mini_sports1m(self.root, self.lists, self.annotation_folder)
