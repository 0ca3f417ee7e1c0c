"""The clips of all fakes."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch

from vidcore.video.encode import write_video


def write_clip(path: Path, index: int) -> None:
    """Writes eight frames of 32 × 24 in the colour of class ``index``, under any name and ending."""
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
