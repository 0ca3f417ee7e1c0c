"""What every backend that reads video promises, and how one is chosen."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor
from typing_extensions import Self

from vidcore.errors import UserError
from vidcore.files import is_pictures
from vidcore.text import is_utf8
from vidcore.video.source import is_plain

BACKENDS = ("pyav", "torchcodec", "decord")


class VideoError(UserError):
    """A video file cannot be read. The text names the file and the reason."""

    def __init__(self, path: str | os.PathLike[str], reason: object) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")


class Decoder(Protocol):
    """Random access to the frames of one video file.

    Frame i is the i-th frame of a plain decode from the start, whatever was asked for before, in every backend, bit
    for bit. A decoder is opened where it is used and is not picklable.

    Attributes:
        backend: Who decodes: the backend asked for, or ``pyav`` where that one is not exact on this file.
        num_frames: Number of frames.
        fps: Average frame rate in Hz.
        times: (num_frames,) float64, when each frame is shown, in seconds on the file's own clock, on which
            :func:`~vidcore.video.audio.read_audio` counts too. Not evenly spaced where the rate varies.
        size: Height and width in pixels as shown, that is, after rotation; pixels need not be square.
    """

    @property
    def backend(self) -> str:
        """Who decodes."""
        ...

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        ...

    @property
    def fps(self) -> float:
        """Average frame rate in Hz."""
        ...

    @property
    def times(self) -> Tensor:
        """Seconds at which each frame is shown."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels as shown."""
        ...

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Decode the frames at ``indices``, in any order, repeats allowed; no others are kept.

        Returns:
            uint8 RGB (T, 3, H, W) in the order of ``indices``, upright. Its memory is channels-last, as decoded.

        Raises:
            VideoError: An index outside 0 ... num_frames - 1, or a frame that cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


def open_video(path: str | os.PathLike[str], backend: str = "pyav", fps: float | None = None) -> Decoder:
    """Open a video file, a folder of pictures, or one picture, for reading.

    Every backend decodes with one thread: loaders are parallel across samples already.

    Args:
        path: A video file, a folder with its frames, or a still, see :class:`~vidcore.video.frames.FrameFolder`; what
            is no plain local file, see :mod:`vidcore.video.source`, is read by PyAV.
        backend: One of :data:`BACKENDS`; all but ``pyav`` are optional installs. Pictures need none of them.
        fps: Rate in Hz of a folder's frames, 30 if not given; files know theirs.

    Raises:
        VideoError: The file is missing, empty, not a video, or broken.
        UserError: The backend is unknown, or cannot be imported.
    """
    if is_pictures(path):
        from vidcore.video.frames import FrameFolder

        return FrameFolder(path, 30.0 if fps is None else fps)
    import_backend(backend)
    if backend == "pyav" or not is_plain(path) or not is_utf8(os.fspath(path)):  # the others take no such name
        from vidcore.video.pyav import PyavDecoder

        return PyavDecoder(path)
    if backend == "torchcodec":
        from vidcore.video.torchcodec import TorchcodecDecoder

        return TorchcodecDecoder(path)
    from vidcore.video.decord import DecordDecoder

    return DecordDecoder(path)


def installed_backends() -> tuple[str, ...]:
    """Those of :data:`BACKENDS` that can be imported here."""
    found = []
    for backend in BACKENDS:
        try:
            import_backend(backend)
        except UserError:
            continue
        found.append(backend)
    return tuple(found)


def import_backend(backend: str) -> None:
    """Import what a backend needs.

    Raises:
        UserError: The backend is unknown, not installed or cannot be imported.
    """
    if backend not in BACKENDS:
        raise UserError(f"video backend {backend!r} is not one of {', '.join(BACKENDS)}")
    module = {"pyav": "av", "torchcodec": "torchcodec.decoders", "decord": "decord"}[backend]
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f'video backend {backend!r} is not installed: pip install "vidcore[{backend}]"') from error
    except Exception as error:  # A wheel that does not fit torch or finds no FFmpeg fails with whatever it likes.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"video backend {backend!r} is installed but cannot be imported: {lines[0]}") from error
