"""Digits that move over clutter: real video files, made on the spot, on which a method's claim can be true or false."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vidcore.dataset import Sample
from vidcore.errors import UserError
from vidcore.task import Task
from vidcore.video.transforms import Augment
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.make_digits import make_moving_digits
from vidcore_datasets.render_digits import Decides, DigitOptions
from vidcore_datasets.splits import SPLITS


def read_moving_digits(folder: str | Path, classes: Sequence[str], detection: bool = False) -> Annotations:
    """Reads the annotations that :func:`~vidcore_datasets.make_digits.make_moving_digits` wrote.

    Args:
        folder: What it returned.
        classes: The names of the classes, in index order.
        detection: Whether targets are boxes: a mapping with ``boxes`` (N, 4) float32 in pixels, ``labels`` (N,) int64
            and ``frames`` (N,) int64. Otherwise they are class indices.
    """
    folder = Path(folder)
    boxes: dict[str, list[list[int]]] = defaultdict(list)
    if detection:
        with (folder / "boxes.csv").open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                numbers = [int(row[column]) for column in ("x1", "y1", "x2", "y2", "frame")]
                boxes[row["path"]].append([*numbers, classes.index(row["label"])])
    samples: dict[str, list[Sample]] = defaultdict(list)
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            path = row["path"]
            target: int | dict[str, np.ndarray] = int(row["label_id"])
            if detection:
                table = np.array(boxes[path], dtype=np.int64)
                target = {"boxes": table[:, :4].astype(np.float32), "frames": table[:, 4], "labels": table[:, 5]}
            samples[row["split"]].append(Sample(str(folder / path), target, id=path))
    task = Task("detection" if detection else "single_label", tuple(classes))
    return Annotations(task, {split: tuple(samples[split]) for split in SPLITS})


class MovingDigits(Annotated):
    """Digits that move over clutter, rendered once into a cache.

    The files are those of :func:`~vidcore_datasets.make_digits.make_moving_digits`.

    Args:
        decides: What decides the class: ``glyph`` (which of ten digits), ``motion`` (how it moves, one of ten ways), or
            ``sound`` (which digit; some segments show it, in others only the sound tells).
        detection: Whether the task is to find the digit in each frame instead of naming the clip's class;
            with ``decides=glyph`` only.
        frame_size: Height and width of the frame, in pixels, even.
        glyph_size: Height of the glyph in pixels.
        num_frames: Frames a clip.
        fps: Frames a second.
        blur: Share of the frames in which the glyph is smeared along its motion.
        occlusion: Share of the frames, one stretch, in which a bar covers three fifths of the glyph.
        clutter: Share of the frame that is strewn with scraps of glyph-like strokes.
        off_centre: Keep the glyph in one quarter of the frame, another in each clip.
        segments: Stretches of equal length, in each of which ``sound`` chooses anew where the class can be told.
        num_train: Clips to train.
        num_val: Clips to validate.
        num_test: Clips to test.
        seed: Another seed draws other clips.
        root: Where rendered data sets are kept; the user's cache if not given.
        augment: The random transforms of training; the default neither mirrors, which makes another digit or motion,
            nor crops narrowly, which loses it.
        **kwargs: See :class:`~vidcore.datamodule.VideoDataModule`.

    Raises:
        UserError: A value that is out of range, a glyph that does not fit, or detection of what is not a glyph.
    """

    RANGES: ClassVar[dict[str, str]] = dict.fromkeys(("num_train", "num_val", "num_test"), "[0, 1000000]")

    def __init__(
        self,
        decides: Decides = "glyph",
        detection: bool = False,
        frame_size: int = 64,
        glyph_size: int = 24,
        num_frames: int = 32,
        fps: int = 16,
        blur: float = 0.0,
        occlusion: float = 0.0,
        clutter: float = 0.2,
        off_centre: bool = False,
        segments: int = 4,
        num_train: int = 1000,
        num_val: int = 200,
        num_test: int = 200,
        seed: int = 0,
        root: str | None = None,
        augment: Augment = Augment(scale=(0.8, 1.0), hflip=0.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(augment=augment, **kwargs)
        if detection and decides != "glyph":
            raise UserError(f"moving_digits: detection=True needs decides=glyph, not {decides}")
        self.options = DigitOptions(
            decides, frame_size, glyph_size, num_frames, fps, blur, occlusion, clutter, off_centre, segments, seed
        )
        self.counts = {"train": num_train, "val": num_val, "test": num_test}
        self.detection = detection
        self.root = root

    @property
    def task(self) -> Task:
        """Single label or detection; follows from the options alone."""
        return Task("detection" if self.detection else "single_label", self.options.classes)

    def prepare_data(self) -> None:
        """Renders the files, unless they are there already."""
        make_moving_digits(self.options, self.counts, self.root, read_only=self.read_only)

    def read(self) -> Annotations:
        """What the files hold; rendered first if need be."""
        folder = make_moving_digits(self.options, self.counts, self.root, read_only=self.read_only)
        return read_moving_digits(folder, self.options.classes, self.detection)
