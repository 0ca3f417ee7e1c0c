"""Mini-Sports1M: two different subsets of Sports-1M with a few videos of each of its 487 classes.

Source:
    ``labels.txt``: https://github.com/gtoderici/sports-1m-dataset. Two selections, whose videos differ:

    - ``adamml``, of AdaMML: ``train_minisports1m.txt`` and ``test_minisports1m.txt``, attached to
      https://github.com/IBM/AdaMML/issues/1; the videos must be downloaded from YouTube.
    - ``bear``, of the BEAR benchmark: ``train.csv``, ``test.csv`` and the videos, from
      https://github.com/AndongDeng/BEAR (``datasets/mini-Sports1M``).

Licence:
    Sports-1M's annotations: CC BY 3.0. Videos: copyright of the uploaders.

Splits:
    ``adamml``: 14,610 train (30 per class), 4,870 test (10 per class), not counted. ``bear``: 19,459 and 4,870,
    counted.

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
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
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
"""Published figures by list."""

_FILES = {"adamml": "{}_minisports1m.txt", "bear": "{}.csv"}
_LINE = re.compile(r"(?:https?://\S*[?&]v=)?(?P<name>[^;]+?)(?:[ ;]+\d+){0,2}[ ;]+(?P<label>\d{1,9})(?:,\d+)*")


def read_mini_sports1m(
    root: str | Path, lists: Lists = "adamml", annotation_folder: str | Path | None = None
) -> Annotations:
    """Read ``labels.txt`` (one class per line) and the lists of videos with their class numbers.

    A line has a YouTube URL, an id or a path, optionally the number of frames or of the first and last frame, and the
    class number from 0, separated by blanks or ``;``: ``https://www.youtube.com/watch?v=UDqivjS-lpI 168``. If a video
    has several classes (``168,169``), the first is used.

    Args:
        root: Folder with the videos, named as in the lists.
        lists: Selection: ``adamml`` or ``bear``. Default: ``adamml``.
        annotation_folder: Folder with the three files. Default: ``root`` or ``root/annotations``.

    Returns:
        A single-label task, its classes in the order of ``labels.txt``, and its samples: ``train`` and ``test``. A
        sample's id is the YouTube id, or the path in the list.

    Raises:
        UserError: A file is missing or invalid.
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
                wanted = f"VIDEO CLASS, with a class number below {len(classes)}"
                raise UserError(f"{path}, line {number}: expected {wanted}, got {line!r}")
            name = match["name"]
            samples[split].append(Sample(str(Path(root, f"{name}.mp4")), int(match["label"]), id=name))
    return Annotations(Task("single_label", classes), samples)


class MiniSports1M(PublishedData):
    """Mini-Sports1M, see [`vidcore_datasets.mini_sports1m`][].

    Args:
        root: Folder with the videos.
        lists: Selection: ``adamml`` (14,610 and 4,870 videos) or ``bear`` (19,459 and 4,870). Default: ``adamml``.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(self, root: str, lists: Lists = "adamml", **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.lists = lists
        self.published = EDITIONS[lists]

    def read(self) -> Annotations:
        """Read the annotation lists."""
        return read_mini_sports1m(self.root, self.lists, self.annotation_folder)
