"""Clips of all fakes."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch
from PIL import Image

from vidcore.video.encode import write_video


def write_clip(path: Path, index: int) -> None:
    """Write eight frames of 32 × 24 in the colour of class ``index``, under any name and suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(index))


@functools.cache
def _encoded(index: int) -> bytes:
    generator = torch.Generator().manual_seed(index)
    colour = torch.randint(0, 200, (1, 3, 1, 1), generator=generator)
    frames = colour + torch.randint(0, 50, (8, 3, 24, 32), generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        write_video(path, frames.to(torch.uint8), fps=8)
        return path.read_bytes()


def write_frames(folder: Path, index: int, count: int = 8, name: str = "{:05d}.jpg", first: int = 1) -> None:
    """Write images of 32 × 24 in the colour of class ``index``, numbered from ``first``."""
    folder.mkdir(parents=True, exist_ok=True)
    colour = torch.randint(0, 200, (3,), generator=torch.Generator().manual_seed(index))
    picture = Image.fromarray(colour.expand(24, 32, 3).to(torch.uint8).numpy())
    for number in range(first, first + count):
        picture.save(folder / name.format(number))
