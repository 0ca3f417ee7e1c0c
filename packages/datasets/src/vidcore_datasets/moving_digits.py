"""Digits that move over clutter: real video files, made on the spot, on which a method's claim can be true or false."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import track

from vidcore.datamodule import Sample, VideoDataModule
from vidcore.errors import UserError
from vidcore.task import Task
from vidcore.video.encode import write_video
from vidcore.video.transforms import Augment
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.render_digits import AUDIO_RATE, VERSION, Decides, DigitClip, DigitOptions, draw_clip

logger = logging.getLogger(__name__)

_MARKER = "options.json"
"""Written last; a folder without it is not complete."""


def make_moving_digits(
    options: DigitOptions, counts: dict[str, int], root: str | Path | None = None, progress: bool = True
) -> Path:
    """Renders the data set, unless it is there already, and returns its folder.

    The folder holds ``SPLIT/INDEX.mp4`` and the annotations: ``labels.csv`` (path, label, label_id, split, glyph, motion;
    the ``csv`` data set can read it), ``boxes.csv`` (path, frame, x1, y1, x2, y2, label, blurred, hidden) and, where sound
    decides, ``segments.csv`` (path, segment, start, end, telling). Its name has a digest of options, counts and version of
    the drawing, so that each choice has its own. Processes that come at once wait for the one that renders. What an
    interrupted one left is deleted by the next.

    Args:
        options: What the clips look like.
        counts: Clips by split.
        root: Where data sets are kept; the user's cache if not given.
        progress: Whether to show a progress bar, on stderr.
    """
    description = {"version": VERSION, "counts": counts, **asdict(options)}
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]
    root = Path(root) if root else user_cache_path("vidcore") / "moving_digits"
    folder = root / f"{options.decides}-{options.frame_size}px-{digest}"
    if (folder / _MARKER).is_file():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{folder.name}.lock"):
        if (folder / _MARKER).is_file():
            return folder
        unfinished = root / f"{folder.name}.unfinished"
        for remains in (unfinished, folder):
            if remains.exists():
                logger.info("deleting the incomplete %s", remains)
                shutil.rmtree(remains)
        _render(options, counts, unfinished, progress)
        (unfinished / _MARKER).write_text(json.dumps(description, indent=2) + "\n")
        unfinished.rename(folder)
    return folder


def _render(options: DigitOptions, counts: dict[str, int], folder: Path, progress: bool) -> None:
    clips = [(split, index) for split, count in counts.items() for index in range(count)]
    folder.mkdir()
    for split in counts:
        (folder / split).mkdir()
    labels, boxes, segments = ([] for _ in range(3))
    console = Console(stderr=True)
    title = f"Rendering {len(clips)} clips to {folder.parent}"
    for split, index in track(clips, title, console=console, disable=not progress):
        clip = draw_clip(options, split, index)
        path = f"{split}/{index:05d}.mp4"
        video = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).contiguous()
        audio = None if clip.audio is None else torch.from_numpy(clip.audio)
        write_video(folder / path, video, options.fps, audio=audio, audio_rate=AUDIO_RATE)
        labels.append((path, options.classes[clip.label], clip.label, split, clip.glyph, clip.motion))
        boxes.extend(_box_rows(path, clip, options))
        segments.extend(_segment_rows(path, clip, options))
    _write(folder / "labels.csv", "path,label,label_id,split,glyph,motion", labels)
    _write(folder / "boxes.csv", "path,frame,x1,y1,x2,y2,label,blurred,hidden", boxes)
    if options.decides == "sound":
        _write(folder / "segments.csv", "path,segment,start,end,telling", segments)


def _box_rows(path: str, clip: DigitClip, options: DigitOptions) -> Iterator[tuple]:
    label = options.classes[clip.label]
    for frame, (box, blurred, hidden) in enumerate(zip(clip.boxes, clip.blurred, clip.hidden, strict=True)):
        yield (path, frame, *(int(edge) for edge in box), label, int(blurred), int(hidden))


def _segment_rows(path: str, clip: DigitClip, options: DigitOptions) -> Iterator[tuple]:
    seconds = options.num_frames / options.fps / options.segments
    for segment, telling in enumerate(clip.telling):
        yield path, segment, round(segment * seconds, 4), round((segment + 1) * seconds, 4), telling


def _write(file: Path, header: str, rows: Sequence[tuple]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def read_moving_digits(folder: str | Path, classes: Sequence[str], detection: bool = False) -> Annotations:
    """Reads the annotations that :func:`make_moving_digits` wrote.

    Args:
        folder: What it returned.
        classes: The names of the classes, in index order.
        detection: Whether targets are boxes: a mapping with ``boxes`` (N, 4) float32 in pixels, ``labels`` (N,) int64 and
            ``frames`` (N,) int64. Otherwise they are class indices.
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
    return Annotations(Task("detection" if detection else "single_label", tuple(classes)), samples)


class MovingDigits(VideoDataModule):
    """Digits that move over clutter, rendered once into a cache, see :func:`make_moving_digits`.

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
        augment: The random transforms of training; a digit or a motion that is flipped is another one, and a narrow crop loses it, so the default does neither.
        **kwargs: See :class:`~vidcore.datamodule.VideoDataModule`.

    Raises:
        UserError: A value that is out of range, a glyph that does not fit, or detection of what is not a glyph.
    """

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
        **kwargs,
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
        make_moving_digits(self.options, self.counts, self.root)

    @cached_property
    def annotations(self) -> Annotations:
        """What the files hold; rendered first if need be."""
        folder = make_moving_digits(self.options, self.counts, self.root)
        return read_moving_digits(folder, self.options.classes, self.detection)

    def samples(self, split: str) -> Sequence[Sample]:
        """The clips of a split."""
        return self.annotations.samples.get(split, ())
