"""Interface of the video decoders, and the choice of one."""

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
    """A video file cannot be read. The message names the file and the reason."""

    def __init__(self, path: str | os.PathLike[str], reason: object) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")


class Decoder(Protocol):
    """Random access to the frames of a video file.

    Frame i is the i-th frame of sequential decoding from the start, independent of earlier requests and bit-identical
    in every backend. A decoder is not picklable; open it in the process that uses it.

    Attributes:
        backend: Backend that decodes: the requested one, or ``pyav`` if that one is not exact on this file.
        num_frames: Number of frames.
        fps: Average frame rate in Hz.
        times: (num_frames,) float64 presentation times in seconds on the file's own time axis, which
            [`read_audio`][vidcore.video.audio.read_audio] shares. Not evenly spaced if the frame rate varies.
        size: Height and width in pixels as displayed, i.e. after rotation; pixels need not be square.
    """

    @property
    def backend(self) -> str:
        """Backend that decodes."""
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
        """Presentation time of each frame in seconds."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels as displayed."""
        ...

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Decode the frames at ``indices``, in any order, with repeats.

        Returns:
            uint8 RGB (T, 3, H, W) in the order of ``indices``, upright, in channels-last memory format.

        Raises:
            VideoError: An index is outside [0, num_frames), or a frame cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


def open_video(path: str | os.PathLike[str], backend: str = "pyav", fps: float | None = None) -> Decoder:
    """Open a video file, a folder of images, or an image.

    Every backend decodes with one thread, since loaders are parallel across samples.

    Args:
        path: Video file, folder with its frames, or image (see ``vidcore.video.frames.FrameFolder``). Paths other
            than plain local files (see [`vidcore.video.source`][]) are read by PyAV.
        backend: One of ``BACKENDS``; all but ``pyav`` are optional installs. Not used for images. Default:
            ``pyav``.
        fps: Frame rate in Hz of a folder of images. Default: 30. Ignored for video files.

    Raises:
        VideoError: The file is missing, empty, not a video, or damaged.
        UserError: The backend is unknown or cannot be imported.
    """
    if is_pictures(path):
        from vidcore.video.frames import FrameFolder

        return FrameFolder(path, 30.0 if fps is None else fps)
    import_backend(backend)
    if backend == "pyav" or not is_plain(path) or not is_utf8(os.fspath(path)):  # others do not support such paths
        from vidcore.video.pyav import PyavDecoder

        return PyavDecoder(path)
    if backend == "torchcodec":
        from vidcore.video.torchcodec import TorchcodecDecoder

        return TorchcodecDecoder(path)
    from vidcore.video.decord import DecordDecoder

    return DecordDecoder(path)


def installed_backends() -> tuple[str, ...]:
    """Return the members of ``BACKENDS`` that can be imported."""
    found = []
    for backend in BACKENDS:
        try:
            import_backend(backend)
        except UserError:
            continue
        found.append(backend)
    return tuple(found)


def import_backend(backend: str) -> None:
    """Import the library of a backend.

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
    except Exception as error:  # a wheel that does not match torch or finds no FFmpeg may raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"video backend {backend!r} is installed but cannot be imported: {lines[0]}") from error
