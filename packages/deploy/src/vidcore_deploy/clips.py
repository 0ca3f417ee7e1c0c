"""Clips of real video files for what tries a model out: those given, or of a small video made for it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidcore.batch import Batch
from vidcore.clip import ClipSpec
from vidcore.reading.dataset import VideoDataset
from vidcore.sample import Sample
from vidcore.video.encode import write_video
from vidcore.video.flow import FlowSource

FPS = 25
HEIGHT, WIDTH = 256, 340
"""Of the video that is made."""


@contextmanager
def given_or_made(paths: Sequence[str], spec: ClipSpec) -> Iterator[tuple[list[str], str]]:
    """The paths and a word on what they are; with no paths, a video that is made and removed again.

    Args:
        paths: Video files.
        spec: What the clips are for: the video is long enough, and has sound where that is wanted.
    """
    if paths:
        yield list(paths), f"{len(paths)} given video{'s' if len(paths) > 1 else ''}"
        return
    with tempfile.TemporaryDirectory(prefix="vid_") as folder:
        path = Path(folder) / "made.mp4"
        seconds = make_video(path, spec)
        yield [str(path)], f"a video made for this ({WIDTH} × {HEIGHT}, {FPS} fps, {seconds:g} s); none was given"


def make_video(path: Path, spec: ClipSpec) -> float:
    """Writes moving waves under noise, as long as a clip or half a minute, with a tone where the spec wants sound.

    Returns:
        Its length in seconds.
    """
    clip = spec.frames / spec.fps if spec.fps else spec.frames * spec.stride / FPS
    seconds = math.ceil(min(30.0, max(2.0, clip * spec.segments)))
    y, x = np.arange(HEIGHT)[:, None], np.arange(WIDTH)
    rng = np.random.default_rng(0)

    def frames() -> Iterator[Tensor]:
        for number in range(seconds * FPS):
            waves = np.stack([np.sin((x + (1 + colour) * y) / 20 + number / 5) for colour in range(3)])
            noise = rng.normal(0, 10, (HEIGHT, WIDTH))
            yield torch.from_numpy((128 + 80 * waves + noise).clip(0, 255).astype(np.uint8))

    sound = None
    if "audio" in spec.modalities:
        sound = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(seconds * spec.audio_rate) / spec.audio_rate)
    write_video(path, frames(), FPS, sound, spec.audio_rate, crf=23)
    return seconds


def read_batch(paths: Sequence[str], spec: ClipSpec, rows: int) -> Batch:
    """A batch of ``rows`` central clips, one a video, from the first again when there are fewer.

    Raises:
        VideoError: A file cannot be read.
    """
    dataset = VideoDataset([Sample(path) for path in paths[:rows]], None, spec, flow=FlowSource(cache=""))
    items = [{**dataset.read(sample), "errors": {}} for sample in dataset.samples]
    batch = dataset.collate([items[row % len(items)] for row in range(rows)])
    return Batch(**{**batch, "ids": [str(row) for row in range(rows)]})
