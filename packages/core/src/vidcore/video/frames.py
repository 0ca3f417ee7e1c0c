"""Frames that lie in a folder as pictures, as some data sets are published."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from typing_extensions import Self

from vidcore.files import PICTURE_ENDINGS, pictures
from vidcore.video.decoder import VideoError
from vidcore.video.pyav import check_indices


def frame_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures in a folder, in the order of the last number in their names, then of the names.

    ``img_2.jpg`` comes before ``img_10.jpg``. Optical flow that lies among them, ``flow_x_1.jpg`` and
    ``flow_y_1.jpg``, is passed over.

    Raises:
        VideoError: No such folder.
    """
    try:
        files = [Path(folder, name) for name in pictures(folder) if not name.startswith(("flow_x_", "flow_y_"))]
    except OSError as error:
        raise VideoError(folder, error.strerror or error) from error
    return sorted(files, key=_number_and_name)


class FrameFolder:
    """A folder of pictures as a video, or one picture as a video of one frame.

    See :class:`~vidcore.video.decoder.Decoder`. Frame i is the i-th of :func:`frame_files`. Pictures have no time of
    their own: they are ``1 / fps`` seconds apart.

    Args:
        path: The folder, or the picture.
        fps: Rate in Hz at which the frames were extracted.

    Raises:
        VideoError: No such folder, no picture in it, or one that cannot be decoded.
        ValueError: A rate that is not positive.
    """

    backend = "frames"

    def __init__(self, path: str | os.PathLike[str], fps: float = 30.0) -> None:
        if not fps > 0:
            raise ValueError(f"{os.fspath(path)}: the rate of its frames must be positive, not {fps}")
        self.path, self.fps = os.fspath(path), float(fps)
        self._files = [Path(path)] if os.path.isfile(path) else frame_files(path)  # noqa: PTH113 - as in open_video
        if not self._files:
            raise VideoError(path, f"has no pictures ({' '.join(sorted(PICTURE_ENDINGS))})")
        self.size: tuple[int, int] = tuple(self._read(0).shape[-2:])  # type: ignore[assignment]

    @property
    def num_frames(self) -> int:
        """Number of pictures."""
        return len(self._files)

    @property
    def times(self) -> Tensor:
        """(num_frames,) float64: i / fps."""
        return torch.arange(self.num_frames, dtype=torch.float64) / self.fps

    def frames(self, indices: Sequence[int]) -> Tensor:
        """The pictures at ``indices``: uint8 RGB (T, 3, H, W); see :meth:`~vidcore.video.decoder.Decoder.frames`."""
        wanted = check_indices(self.path, indices, self.num_frames)
        pictures = {index: self._read(index) for index in set(wanted)}
        for index, picture in pictures.items():
            if picture.shape[-2:] != self.size:
                height, width = picture.shape[-2:]
                expected = f"the first picture is {self.size[1]} × {self.size[0]}"
                raise VideoError(self.path, f"{self._files[index].name} is {width} × {height} pixels, {expected}")
        if not wanted:
            return torch.empty(0, 3, *self.size, dtype=torch.uint8)
        return torch.stack([pictures[index] for index in wanted])

    def _read(self, index: int) -> Tensor:
        file = self._files[index]
        try:
            return decode_image(str(file), mode=ImageReadMode.RGB)
        except (RuntimeError, OSError) as error:
            raise VideoError(file, f"cannot be decoded: {str(error).splitlines()[0]}") from error

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _number_and_name(file: Path) -> tuple[int, str]:
    numbers = re.findall(r"\d+", file.stem)
    return int(numbers[-1]) if numbers else -1, file.name
