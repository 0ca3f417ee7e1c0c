"""Limits on what a file may declare, so that a small file cannot take all memory.

Each limit is checked before memory is allocated. A file above one is unreadable like a damaged one: ``vid predict``
gives it an error row, ``vid data prepare`` lists it in ``unreadable.csv``. To read such a file, set the limit's
environment variable: ``VID_MAX_PIXELS=400000000 vid predict …``.
"""

from __future__ import annotations

import mmap
import os
import re
from dataclasses import dataclass
from zipfile import ZipFile, is_zipfile

from vidcore.errors import UserError


class LimitError(ValueError):
    """A file declares more than a limit allows. The text does not name the file."""


@dataclass(frozen=True)
class Limit:
    """One limit.

    Args:
        variable: Environment variable that replaces the default.
        default: Largest value that is accepted.
        what: What is counted, for errors.
    """

    variable: str
    default: int
    what: str

    @property
    def value(self) -> int:
        """Largest value that is accepted now.

        Raises:
            UserError: The environment variable is not a positive whole number.
        """
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
            raise UserError(f"{self.variable} must be a positive whole number ({self.what}), got {text!r}")
        return int(text)

    def check(self, count: int) -> None:
        """Check a number that a file declares.

        Raises:
            LimitError: It is above the limit.
        """
        if count > self.value:
            raise LimitError(f"declares {count} {self.what}, more than {self.variable}={self.value} allows")


PIXELS = Limit("VID_MAX_PIXELS", 2**26, "pixels per picture or video frame")
"""8192 × 8192: twice the largest frame of H.264, HEVC and AV1 at level 6.2."""
CLIP_PIXELS = Limit("VID_MAX_CLIP_PIXELS", 2**31, "pixels in the frames that are read at once")
"""6.4 GB as uint8 RGB: 64 frames of 7680 × 4320."""
FRAMES = Limit("VID_MAX_FRAMES", 10_000_000, "frames")
"""For MP4 and MOV, samples of all streams: two days of 25 frames per second with sound."""
STATE_BYTES = Limit("VID_MAX_STATE_BYTES", 2**30, "bytes of state")
"""Of an exported step of a streaming model."""
UNPACKED_BYTES = Limit("VID_MAX_UNPACKED_BYTES", 2**30, "bytes after unpacking")
"""Of a compressed archive. What torch and numpy save is not compressed and may be of any size."""

_BYTEARRAY = re.compile(rb"c(__builtin__|builtins)\nbytearray\n")

LIMITS = (PIXELS, CLIP_PIXELS, FRAMES, STATE_BYTES, UNPACKED_BYTES)


def check_archive(path: str | os.PathLike[str]) -> None:
    """Check the members that a zip archive (an ``.npz``) declares; other files pass.

    Raises:
        LimitError: See ``check_unpacked``.
        OSError: The file cannot be read.
        zipfile.BadZipFile: The archive is damaged.
    """
    if archive := _archive(path):
        archive.close()


def check_checkpoint(path: str | os.PathLike[str]) -> None:
    """Check what ``torch.save`` wrote, before ``torch.load(weights_only=True)`` allocates what the file declares.

    Raises:
        LimitError: See ``check_unpacked``; or the pickle creates a ``bytearray``, which can have any size.
        OSError: The file cannot be read.
        ValueError: The file is empty.
        zipfile.BadZipFile: The archive is damaged.
    """
    if archive := _archive(path):
        with archive:
            found = any(
                _BYTEARRAY.search(archive.read(name)) for name in archive.namelist() if name.endswith("data.pkl")
            )
    else:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:  # noqa: PTH123
            found = _BYTEARRAY.search(data) is not None
    if found:
        raise LimitError("creates a bytearray, whose size nothing limits")


def _archive(path: str | os.PathLike[str]) -> ZipFile | None:
    with open(path, "rb") as file:  # noqa: PTH123 - may be given as text
        if file.read(4) != b"PK\x03\x04" and not is_zipfile(file):
            return None
        size = file.seek(0, os.SEEK_END)
    archive = ZipFile(path)
    try:
        check_unpacked(sum(member.file_size for member in archive.infolist()), size)
    except LimitError:
        archive.close()
        raise
    return archive


def check_unpacked(declared: int, stored: int) -> None:
    """Check how many bytes an archive declares to hold after unpacking.

    Args:
        declared: Bytes after unpacking.
        stored: Bytes of the archive, which it may hold in any case: so an archive without compression passes.

    Raises:
        LimitError: ``declared`` is above ``stored`` and above ``UNPACKED_BYTES``.
    """
    if declared > stored:
        UNPACKED_BYTES.check(declared)
