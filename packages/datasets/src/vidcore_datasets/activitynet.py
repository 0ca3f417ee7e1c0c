"""ActivityNet v1.3: 200 activities in untrimmed videos of several minutes; few videos have more than one class.

Source:
    http://activity-net.org/download.html; ``activity_net.v1-3.min.json`` also at
    https://github.com/activitynet/ActivityNet/tree/master/Evaluation/data. Videos are called ``v_ID.mp4``, ``.mkv`` or
    ``.webm``, in any folder.

Licence:
    Annotations: MIT. Videos: copyright of the uploaders.

Splits:
    10,024 train, 4,926 val, 5,044 test videos; 200 classes. Figures as cited; the test figure is from secondary
    sources. The reader follows public code for this file; it has not been tested on the official file.

Test:
    The test labels were never published: ``test`` uses ``val``, as in the literature.

Citation:
    Caba Heilbron et al., ActivityNet: A Large-Scale Video Benchmark for Human Activity Understanding, CVPR 2015.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.text import read_json

logger = logging.getLogger(__name__)

PUBLISHED = Published(
    "activitynet", "http://activity-net.org/download.html", classes=200, sizes={"train": 10_024, "val": 4_926}
)
SPLITS = {"training": "train", "validation": "val"}


def read_activitynet(
    root: str | Path, annotation_folder: str | Path | None = None, segments: bool = False
) -> Annotations:
    """Read ``activity_net.v1-3.min.json``.

    The classes are the leaves of the taxonomy, sorted by name.

    Args:
        root: Folder with the videos.
        annotation_folder: Folder with the JSON file. Default: ``root`` or ``root/annotations``.
        segments: If True, each annotated segment is a sample with one class. If False, each video is a sample with all
            classes that occur in it. Default: False.

    Returns:
        A multi-label task (single-label with ``segments``) and its samples: ``train`` and ``val``. A sample's id is
        ``v_ID``, or ``v_ID#START-END``.

    Raises:
        UserError: The file is missing or invalid.
    """
    path = official_file(root, ("activity_net.v1-3.min.json",), PUBLISHED, annotation_folder)
    content = read_json(path)
    try:
        parents = {node["parentName"] for node in content["taxonomy"]}
        classes = tuple(sorted({node["nodeName"] for node in content["taxonomy"]} - parents))
        database = [
            (
                f"v_{name}",
                SPLITS[video["subset"]],
                [(a["label"], *map(float, a["segment"])) for a in video["annotations"]],
            )
            for name, video in content["database"].items()
            if video["subset"] in SPLITS
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not in ActivityNet v1.3 format ({type(error).__name__}: {error})") from error
    index = {name: number for number, name in enumerate(classes)}
    unknown = {label for _, _, stretches in database for label, *_ in stretches} - index.keys()
    if unknown:
        raise UserError(f"{path}: labels missing from the taxonomy: {', '.join(sorted(unknown))}")

    samples: dict[str, list[Sample]] = {"train": [], "val": []}
    empty = 0
    for name, split, stretches in database:
        file = str(Path(root, f"{name}.mp4"))
        if not segments:
            samples[split].append(Sample(file, tuple(sorted({index[label] for label, *_ in stretches})), id=name))
            continue
        for label, start, end in stretches:
            if 0 <= start < end:
                samples[split].append(Sample(file, index[label], f"{name}#{start:g}-{end:g}", start, end))
            else:
                empty += 1
    if empty:
        logger.warning("%s: ignoring %d segments whose end is not after their start", path, empty)
    return Annotations(Task("single_label" if segments else "multi_label", classes), samples)


class ActivityNet(PublishedData):
    """ActivityNet v1.3, see [`vidcore_datasets.activitynet`][].

    Args:
        root: Folder with the videos.
        segments: Use each annotated segment as a single-label sample instead of each video as a multi-label sample.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(self, root: str, segments: bool = False, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.segments = segments
        self.published = replace(PUBLISHED, sizes={}) if segments else PUBLISHED

    def read(self) -> Annotations:
        """Read the annotations."""
        return read_activitynet(self.root, self.annotation_folder, self.segments)
