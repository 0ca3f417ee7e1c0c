"""Custom detection data in COCO format with videos (mmtracking's CocoVID).

One JSON file per split with four lists; other keys are ignored::

    {
      "categories":  [{"id": 1, "name": "person"}],
      "videos":      [{"id": 1, "name": "street", "fps": 25}],
      "images":      [{"id": 1, "video_id": 1, "frame_id": 0, "file_name": "street/000001.jpg"}],
      "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40], "track_id": 7}]
    }

A video is a folder of images (the folder of its ``file_name`` entries), or a video file if it has a ``file_name`` of
its own. In a video file, ``frame_id`` is the frame's index from 0. In a folder, the position among the sorted file
names counts instead, so only some of the images need to be listed. ``bbox`` is x, y, width and height in pixels.
``track_id`` (or ``instance_id``) is optional.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidcore.classes import checked_classes
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.reading.index import SampleIndex
from vidcore.task import Task
from vidcore.video.frames import frame_files
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations, complete_splits
from vidcore_datasets.boxes import Row, box_target
from vidcore_datasets.csv import require_files
from vidcore_datasets.splits import SPLITS, Split
from vidcore_datasets.text import read_json

logger = logging.getLogger(__name__)


def read_coco_vid(
    root: str | Path,
    annotation_folder: str | Path | None = None,
    seed: int = 0,
    trained_on: bool | None = None,
) -> Annotations:
    """Read ``train.json``, ``val.json`` and ``test.json``.

    Classes are the categories in the order of their ids; each file must have the same. Crowd boxes (``iscrowd``) and
    boxes without area are left out. Missing splits are drawn by ``vidcore_datasets.annotations.complete_splits`` and
    saved in ``splits.csv`` beside the JSON files.

    Args:
        root: Folder that file names are relative to.
        annotation_folder: Folder with the JSON files. Default: ``root`` or ``root/annotations``.
        seed: Random seed of drawn splits.
        trained_on: For evaluation: whether the model was trained on these files. If not None, ``train.json`` may be
            missing; see also ``vidcore_datasets.annotations.complete_splits``.

    Returns:
        A detection task and its samples. A sample is a whole video, its id the path in the file. Its target has,
        besides boxes, labels and frames, ``tracks`` and ``motion``, see
        [`box_target`][vidcore_datasets.boxes.box_target].

    Raises:
        UserError: There is no ``train.json``, or a file is invalid.
    """
    root = Path(root)
    places = [root, root / "annotations"] if annotation_folder is None else [Path(annotation_folder)]
    wanted = SPLITS if trained_on is not None else SPLITS[:1]
    folder = next((place for place in places if any((place / f"{split}.json").is_file() for split in wanted)), None)
    if folder is None:
        raise UserError(f"no train.json in {' or '.join(map(str, places))}: expected train.json, val.json, test.json")
    given: dict[Split, list[Sample]] = {}
    classes: list[str] = []
    for split in SPLITS:
        path = folder / f"{split}.json"
        if path.is_file():
            names, given[split] = _read_split(path, root)
            if classes and names != classes:
                raise UserError(f"{path}: categories differ from those of the first split")
            classes = names
    samples = complete_splits(given, root, folder / "splits.csv", seed, trained_on)
    return Annotations(Task("detection", tuple(classes)), samples)


def _read_split(path: Path, root: Path) -> tuple[list[str], list[Sample]]:
    """Return the class names and the samples of a JSON file."""
    content = read_json(path)
    try:
        categories = sorted(content["categories"], key=lambda category: category["id"])
        index = {category["id"]: number for number, category in enumerate(categories)}
        videos = {video["id"]: video for video in content["videos"]}
        images: dict[Any, list[dict[str, Any]]] = {name: [] for name in videos}
        for image in content["images"]:
            images[image["video_id"]].append(image)
        rows: dict[Any, list[tuple[int, int, float, float, float, float]]] = defaultdict(list)
        left_out = 0
        for number, box in enumerate(content["annotations"]):
            x, y, width, height = map(float, box["bbox"])
            if box.get("iscrowd") or not (width > 0 and height > 0):
                left_out += 1
                continue
            track = int(box.get("track_id", box.get("instance_id", -1 - number)))  # default: a track of its own
            rows[box["image_id"]].append((index[box["category_id"]], track, x, y, x + width, y + height))
        samples = []
        for key, video in videos.items():
            frames = images[key]
            name = video.get("file_name") or os.path.dirname(frames[0]["file_name"])  # noqa: PTH120
            positions = _positions(root / name, frames)
            boxes: list[Row] = [(positions[image["id"]], *row) for image in frames for row in rows[image["id"]]]
            samples.append(Sample(str(root / name), box_target(boxes), id=name, fps=video.get("fps")))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        form = 'lists "categories", "videos", "images" and "annotations" that refer to each other'
        raise UserError(f"{path}: expected {form} ({type(error).__name__}: {error})") from error
    if left_out:
        logger.warning("%s: %d boxes of crowds or without area are ignored", path, left_out)
    names = checked_classes(enumerate((category["name"] for category in categories), 1), path, "category")
    return list(names), samples


def _positions(path: Path, frames: Sequence[dict[str, Any]]) -> dict[Any, int]:
    """Return the frame index of each image id."""
    if not path.is_dir():  # a video file, or missing, which is checked later
        return {image["id"]: int(image["frame_id"]) for image in frames}
    order = {picture.name: number for number, picture in enumerate(frame_files(path))}
    lost = [image["file_name"] for image in frames if os.path.basename(image["file_name"]) not in order]  # noqa: PTH119
    if lost:
        raise UserError(f"{path}: {len(lost)} listed images do not exist, such as {lost[0]}")
    return {image["id"]: order[os.path.basename(image["file_name"])] for image in frames}  # noqa: PTH119


class CocoVid(Annotated):
    """Custom detection data in COCO format, see [`read_coco_vid`][vidcore_datasets.coco_vid.read_coco_vid].

    Args:
        root: Folder that file names are relative to.
        annotation_folder: Folder with ``train.json``, ``val.json`` and ``test.json``. Default: ``root`` or
            ``root/annotations``.
        seed: Random seed of the splits that are drawn if missing; saved in ``splits.csv`` beside the JSON files.
        **kwargs: Passed to [`VideoDataModule`][vidcore.datamodule.VideoDataModule].
    """

    def __init__(self, root: str, annotation_folder: str | None = None, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.annotation_folder = annotation_folder
        self.seed = seed

    def read(self) -> Annotations:
        """See [`read_coco_vid`][vidcore_datasets.coco_vid.read_coco_vid]."""
        return read_coco_vid(self.root, self.annotation_folder, self.seed, self.trained_on)

    def samples(self, split: str) -> SampleIndex:
        """Return the videos of a split, after checking that they exist.

        Raises:
            UserError: Videos do not exist.
        """
        samples = super().samples(split)
        require_files(samples.paths, self.annotation_folder or self.root)
        return samples
