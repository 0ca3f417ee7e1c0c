"""Moving digits over clutter: real video files, rendered locally, on which a method's claims can be tested."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore.video.transforms import Augment
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.make_digits import make_moving_digits
from vidcore_datasets.render_digits import Decides, DigitOptions
from vidcore_datasets.splits import SPLITS


def read_moving_digits(folder: str | Path, classes: Sequence[str], detection: bool = False) -> Annotations:
    """Read the annotations that ``vidcore_datasets.make_digits.make_moving_digits`` wrote.

    Args:
        folder: Return value of that function.
        classes: Class names in index order.
        detection: If True, targets are mappings with ``boxes`` (N, 4) float32 in pixels, ``labels`` (N,) int64 and
            ``frames`` (N,) int64. If False, they are class indices. Default: False.
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

    The files are written by ``vidcore_datasets.make_digits.make_moving_digits``.

    Args:
        decides: What determines the class: ``glyph`` (which of ten digits), ``motion`` (which of ten motions), or
            ``sound`` (which digit; some segments show it, in others only the sound identifies it). Default: ``glyph``.
        detection: Whether the task is to detect the digit in each frame; requires ``decides=glyph``. Default: False.
        frame_size: Height and width of the frame in pixels, even. Default: 64.
        glyph_size: Height of the glyph in pixels. Default: 24.
        num_frames: Frames per clip. Default: 32.
        fps: Frames per second. Default: 16.
        blur: Share of the frames, in [0, 1], in which the glyph is blurred along its motion. Default: 0.
        occlusion: Share of the frames, in [0, 1], consecutive, in which a bar covers three fifths of the glyph.
            Default: 0.
        clutter: Share of the frame, in [0, 1], that is covered by fragments of glyph-like strokes. Default: 0.2.
        off_centre: Keep the glyph in one random quarter of the frame per clip. Default: False.
        segments: Number of segments of equal length; with ``decides=sound``, each shows either the picture or the sound
            of the digit. Default: 4.
        num_train: Number of training clips. Default: 1000.
        num_val: Number of validation clips. Default: 200.
        num_test: Number of test clips. Default: 200.
        seed: Random seed of the clips.
        root: Folder for rendered data sets. Default: the user's cache.
        augment: Random transforms of training clips. Default: no horizontal flip, which would change digit or motion,
            and no small crops, which would lose the digit.
        **kwargs: Passed to [`VideoDataModule`][vidcore.datamodule.VideoDataModule].

    Raises:
        UserError: A value is out of range, the glyph does not fit, or ``detection`` without ``decides=glyph``.
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
            raise UserError(f"moving_digits: detection=True requires decides=glyph, got {decides}")
        self.options = DigitOptions(
            decides, frame_size, glyph_size, num_frames, fps, blur, occlusion, clutter, off_centre, segments, seed
        )
        self.counts = {"train": num_train, "val": num_val, "test": num_test}
        self.detection = detection
        self.root = root

    @property
    def task(self) -> Task:
        """Single-label or detection task, determined by the options."""
        return Task("detection" if self.detection else "single_label", self.options.classes)

    def prepare_data(self) -> None:
        """Render the files, unless they exist."""
        make_moving_digits(self.options, self.counts, self.root, read_only=self.read_only)

    def read(self) -> Annotations:
        """Read the annotations; render the files first if they do not exist."""
        folder = make_moving_digits(self.options, self.counts, self.root, read_only=self.read_only)
        return read_moving_digits(folder, self.options.classes, self.detection)
