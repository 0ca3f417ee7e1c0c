"""Read images as frames: folders of images, as some data sets are published, and single images."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor
from typing_extensions import Self

from vidcore.files import PICTURE_ENDINGS, pictures
from vidcore.video.container import require_file
from vidcore.video.decoder import VideoError
from vidcore.video.limits import CLIP_PIXELS, PIXELS, LimitError
from vidcore.video.pyav import check_indices
from vidcore.video.source import is_plain, opened
from vidcore.video.time_limit import check_time

# Image class by first bytes, independent of the suffix. Image.open would also try formats that run other programs.
_FORMATS: dict[bytes, Any] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG": PngImageFile,
    b"RIFF": WebPImageFile,
    b"GIF8": GifImageFile,
}
# EXIF orientation: whether rows and columns are swapped, then the direction of rows and columns.
_UPRIGHT = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


def frame_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the images in a folder, sorted by the last number in their names, then by name.

    ``img_2.jpg`` comes before ``img_10.jpg``. Optical flow images, ``flow_x_1.jpg`` and ``flow_y_1.jpg``, are ignored.

    Raises:
        VideoError: The folder does not exist.
    """
    try:
        files = [Path(folder, name) for name in pictures(folder) if not name.startswith(("flow_x_", "flow_y_"))]
    except OSError as error:
        raise VideoError(folder, error.strerror or error) from error
    return sorted(files, key=_number_and_name)


def read_picture(file: Any, mode: str = "RGB") -> np.ndarray:
    """Read a JPEG, PNG, WebP or GIF image, rotated upright by its EXIF orientation.

    Args:
        file: Path, or object with ``read``, ``seek`` and ``tell``.
        mode: ``RGB``, or ``L`` for greyscale. Default: ``RGB``.

    Returns:
        uint8 (H, W, 3), or (H, W) for greyscale.

    Raises:
        ValueError: The file is not an image, has more pixels than ``vidcore.video.limits.PIXELS``, or is animated.
        Exception: Any of Pillow's errors for damaged data.
    """
    if isinstance(file, str | os.PathLike):
        require_file(file)
        file = open(file, "rb")  # noqa: SIM115, PTH123 - closed below
    try:
        first = file.read(4)
        file.seek(0)
        picture_of = next((cls for start, cls in _FORMATS.items() if first.startswith(start)), None)
        if picture_of is None:
            raise ValueError("is not a JPEG, PNG, WebP or GIF file")
        picture = picture_of(file)
        PIXELS.check(picture.width * picture.height)
        if getattr(picture, "is_animated", False):
            raise ValueError(
                f"is an animated {picture.format} of {picture.n_frames} frames, which is not read as a picture; "
                "convert it to a video file, for example to MP4 with FFmpeg"
            )
        picture.load()
        return _upright(picture, mode)
    finally:
        file.close()


class FrameFolder:
    """A folder of images read as a video, or one image as a video of one frame.

    Implements [`Decoder`][vidcore.video.decoder.Decoder]. Frame i is file i of ``frame_files``, at i / fps seconds.

    Images are JPEG, PNG, WebP or GIF, not animated, rotated upright by their EXIF orientation. 16-bit values are
    divided by 256, rounded down. Greyscale, palette, CMYK and YCCK images are converted to RGB by Pillow; colour
    profiles are ignored. Transparency is dropped: each pixel has its stored colour, as in FFmpeg.

    Args:
        path: Folder of images, or an image; an image may be at a URL or in a byte range, see
            [`vidcore.video.source`][].
        fps: Rate in Hz at which the frames were extracted. Default: 30.

    Raises:
        VideoError: The folder does not exist or has no images, the first image cannot be decoded, or ``fps`` is not
            positive.
    """

    backend = "frames"

    def __init__(self, path: str | os.PathLike[str], fps: float = 30.0) -> None:
        if not 0 < fps < math.inf:
            raise VideoError(path, f"fps must be positive, got {fps}")
        self.path, self.fps = os.fspath(path), float(fps)
        single = not is_plain(path) or os.path.isfile(path)  # noqa: PTH113 - as in is_pictures
        self._files = [self.path] if single else [str(file) for file in frame_files(path)]
        if not self._files:
            raise VideoError(path, f"has no pictures ({' '.join(sorted(PICTURE_ENDINGS))})")
        self._first = self._read(0)
        self.size: tuple[int, int] = self._first.shape[:2]

    @property
    def num_frames(self) -> int:
        """Number of images."""
        return len(self._files)

    @property
    def times(self) -> Tensor:
        """(num_frames,) float64: i / fps."""
        return torch.arange(self.num_frames, dtype=torch.float64) / self.fps

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Decode the images at ``indices``: uint8 RGB (T, 3, H, W); see ``Decoder.frames``."""
        wanted = check_indices(self.path, indices, self.num_frames)
        try:
            CLIP_PIXELS.check(len(wanted) * self.size[0] * self.size[1])
        except LimitError as error:
            raise VideoError(self.path, error) from error
        frames = np.empty((len(wanted), *self.size, 3), np.uint8)
        pictures: dict[int, int] = {}  # first position of each image in ``frames``
        for place, index in enumerate(wanted):
            if index in pictures:
                frames[place] = frames[pictures[index]]
                continue
            check_time(self.path)
            frames[place] = self._picture(
                index
            )  # no name keeps it, so that the next one gets its memory, still in cache
            pictures[index] = place
        return torch.from_numpy(frames).permute(0, 3, 1, 2)

    def _picture(self, index: int) -> np.ndarray:
        if index == 0:
            return self._first
        picture = self._read(index)
        if picture.shape[:2] != self.size:
            (height, width), name = picture.shape[:2], Path(self._files[index]).name
            expected = f"the first picture is {self.size[1]} × {self.size[0]}"
            raise VideoError(self.path, f"{name} is {width} × {height} pixels, {expected}")
        return picture

    def _read(self, index: int) -> np.ndarray:
        file = self._files[index]
        try:
            return read_picture(opened(file))
        except Exception as error:  # Pillow raises many kinds for damaged data
            reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
            raise VideoError(file, f"cannot be decoded: {reason}") from error

    def close(self) -> None:
        """Do nothing; no file is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _number_and_name(file: Path) -> tuple[int, str]:
    numbers = re.findall(r"\d+", file.stem)
    return int(numbers[-1]) if numbers else -1, file.name


def _upright(picture: Image.Image, mode: str) -> np.ndarray:
    shown = picture
    if shown.mode.startswith("I"):  # 16-bit grey, which Pillow would clip
        shown = Image.fromarray((np.asarray(shown) >> 8).astype(np.uint8))
    if shown.mode != mode:
        shown.info.pop("transparency", None)  # Pillow warns of a palette with several transparent colours
        shown = shown.convert(mode)
    orientation: Any = None
    with suppress(Exception):  # damaged EXIF data, which other programs ignore
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    exchanged, rows, columns = _UPRIGHT.get(orientation, (False, 1, 1))
    pixels = np.frombuffer(shown.tobytes(), np.uint8).reshape(
        shown.height, shown.width, *((3,) if mode == "RGB" else ())
    )
    return (pixels.swapaxes(0, 1) if exchanged else pixels)[::rows, ::columns]
