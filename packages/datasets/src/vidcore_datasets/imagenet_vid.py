"""ImageNet VID plus stills of ImageNet DET: tracked boxes of 30 classes of animals and vehicles.

Source:
    Videos, stills and XML: https://image-net.org/challenges/LSVRC/2015/ (``ILSVRC2015_VID.tar.gz``,
    ``ILSVRC2015_DET.tar.gz``), account required. The two training lists that the literature uses,
    ``VID_train_15frames.txt`` and ``DET_train_30classes.txt``:
    https://github.com/msracver/Flow-Guided-Feature-Aggregation

Licence:
    ImageNet's terms: non-commercial research and education.

Splits:
    | split | videos                                         | samples                                             |
    | ----- | ---------------------------------------------- | --------------------------------------------------- |
    | train | 3,862 (1,122,397 frames), 53,639 stills        | 111,473: 57,834 frames (15 per video) and the stills |
    | val   | 555 (176,126 frames)                           | 555                                                 |

    The lengths of the lists were counted. A few short videos have fewer than 15 frames.

Test:
    The labels of the 937 test videos were never published: ``test`` uses ``val``, as in the literature.

Citation:
    Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015.
"""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.boxes import Row, box_target, of_frames
from vidcore_datasets.find_videos import find_videos
from vidcore_datasets.inputs import depends_on
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.text import read_lines

logger = logging.getLogger(__name__)

PUBLISHED = Published(
    "imagenet_vid",
    "https://github.com/msracver/Flow-Guided-Feature-Aggregation",
    classes=30,
    sizes={"train": 57_834 + 53_639, "val": 555},
)

SYNSETS = {
    "n02691156": "airplane",
    "n02419796": "antelope",
    "n02131653": "bear",
    "n02834778": "bicycle",
    "n01503061": "bird",
    "n02924116": "bus",
    "n02958343": "car",
    "n02402425": "cattle",
    "n02084071": "dog",
    "n02121808": "domestic_cat",
    "n02503517": "elephant",
    "n02118333": "fox",
    "n02510455": "giant_panda",
    "n02342885": "hamster",
    "n02374451": "horse",
    "n02129165": "lion",
    "n01674464": "lizard",
    "n02484322": "monkey",
    "n03790512": "motorcycle",
    "n02324045": "rabbit",
    "n02509815": "red_panda",
    "n02411705": "sheep",
    "n01726692": "snake",
    "n02355227": "squirrel",
    "n02129604": "tiger",
    "n04468005": "train",
    "n01662784": "turtle",
    "n04530566": "watercraft",
    "n02062744": "whale",
    "n02391049": "zebra",
}
"""Class names by WordNet synset, in index order."""

FPS = 30.0
"""Frame rate in Hz assumed for all videos; the actual rates were not published."""

_INDEX = {synset: number for number, synset in enumerate(SYNSETS)}


def read_imagenet_vid(
    root: str | Path, list_folder: str | Path | None = None, det: bool = True, reach: int = 15
) -> Annotations:
    """Read the XML files of all frames; takes about a minute per million files.

    A training sample is the part of a video around a listed frame, or a still. A validation sample is a whole video.
    Boxes are in pixels from the top left corner of the image; x2 and y2 are exclusive, one more than in the XML.
    Objects of other classes are ignored.

    Args:
        root: Folder ``ILSVRC2015``, with ``Annotations`` and ``Data``.
        list_folder: Folder with the two lists. Default: ``root/ImageSets``.
        det: Whether to train on the stills of ImageNet DET as well. Default: True.
        reach: Number of frames before and after a listed frame that belong to its sample. Default: 15.

    Returns:
        A detection task and its samples: ``train`` and ``val``. A sample's target has, besides boxes, labels and
        frames, ``tracks`` (the official number of the object within its video) and ``motion``, see
        [`box_target`][vidcore_datasets.boxes.box_target]. Its id is the path below ``VID`` or ``DET``, plus ``#FRAME``
        for training frames.

    Raises:
        UserError: A file is missing or invalid.
    """
    root = Path(root)
    folder = root / "ImageSets" if list_folder is None else list_folder
    train = _train_videos(root, official_file(root, ("VID_train_15frames.txt",), PUBLISHED, folder), reach)
    if det:
        train += _stills(root, official_file(root, ("DET_train_30classes.txt",), PUBLISHED, folder))
    videos = sorted(path.name for path in _existing(root / "Annotations/VID/val").iterdir() if path.is_dir())
    val = [
        Sample(_data(root, f"VID/val/{name}"), _video(root, f"val/{name}"), f"val/{name}", fps=FPS) for name in videos
    ]
    return Annotations(Task("detection", tuple(SYNSETS.values())), {"train": train, "val": val})


def _data(root: Path, name: str) -> str:
    return str(root / "Data" / name)


def _existing(folder: Path) -> Path:
    if not depends_on(folder).is_dir():
        raise UserError(f"{folder} does not exist: expected the XML annotations of ImageNet VID")
    return folder


def _train_videos(root: Path, path: Path, reach: int) -> list[Sample]:
    """Read the samples of lines ``VIDEO 1 FRAME LENGTH``; frames are counted from 0."""
    listed: dict[str, list[int]] = {}
    for number, line in read_lines(path):
        try:
            name, _, middle, _ = line.split()
            listed.setdefault(name, []).append(int(middle))
        except ValueError as error:
            raise UserError(f"{path}, line {number}: expected VIDEO 1 FRAME LENGTH, got {line!r}") from error
    logger.info("imagenet_vid: reading the XML files of %d training videos", len(listed))
    samples = []
    for name, frames in listed.items():
        target = _video(root, name)
        for frame in frames:
            first, last = max(frame - reach, 0), frame + reach
            part = of_frames(target, first, last)
            where = _data(root, f"VID/{name}")
            samples.append(Sample(where, part, f"{name}#{frame}", first / FPS, (last + 1) / FPS, fps=FPS))
    return samples


def _stills(root: Path, path: Path) -> list[Sample]:
    """Read the samples of lines ``IMAGE 1``; 378 images are listed more than once, and count as often."""
    logger.info("imagenet_vid: reading the XML files of stills")
    samples = []
    for _, line in read_lines(path):
        name = line.split()[0]
        depends_on((root / f"Annotations/DET/{name}.xml").parent)
        target = box_target(_objects(root / f"Annotations/DET/{name}.xml", 0))
        samples.append(Sample(_data(root, f"DET/{name}.JPEG"), target, name))
    return samples


def _video(root: Path, name: str) -> dict[str, Any]:
    files = sorted(_existing(root / "Annotations/VID" / name).glob("*.xml"))
    return box_target([row for file in files for row in _objects(file, int(file.stem))])


def _objects(file: Path, frame: int) -> list[Row]:
    """Read the objects of a frame; an object without a track id, as in stills, is a track of its own."""
    rows: list[Row] = []
    try:
        # expat itself refuses entity expansion attacks since version 2.4.
        for number, item in enumerate(ET.parse(file).getroot().iter("object")):  # noqa: S314
            label = _INDEX.get(item.findtext("name", ""))
            box = item.find("bndbox")
            if label is not None and box is not None:
                x1, y1, x2, y2 = (float(box.findtext(side, "")) for side in ("xmin", "ymin", "xmax", "ymax"))
                track = int(item.findtext("trackid", str(number)))
                rows.append((frame, label, track, x1, y1, x2 + 1, y2 + 1))
    except (OSError, ET.ParseError, ValueError) as error:
        raise UserError(f"{file}: cannot read the annotation of a frame ({error})") from error
    return rows


class ImageNetVID(PublishedData):
    """ImageNet VID, see [`vidcore_datasets.imagenet_vid`][].

    Args:
        root: Folder ``ILSVRC2015``, with ``Annotations`` and ``Data``.
        det: Whether to train on the stills of ImageNet DET as well. Default: True.
        reach: Number of frames before and after a listed frame that its training clip is drawn from. Default: 15.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData]. ``annotation_folder`` is the
            folder with the two lists. Default: ``root/ImageSets``.
    """

    RANGES: ClassVar[dict[str, str]] = {"reach": "[0, inf)"}

    def __init__(self, root: str, det: bool = True, reach: int = 15, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.det, self.reach = det, reach
        self.published = PUBLISHED if det else replace(PUBLISHED, sizes={"train": 57_834, "val": 555})

    def read(self) -> Annotations:
        """Read the XML files."""
        return read_imagenet_vid(self.root, self.annotation_folder, self.det, self.reach)

    @cached_property
    def _places(self) -> Mapping[str, str]:
        # Search Data only: the folders of XML files have the same names as the videos.
        samples = self.annotations.samples.values()
        return find_videos({sample.path for part in samples for sample in part}, Path(self.root, "Data"))
