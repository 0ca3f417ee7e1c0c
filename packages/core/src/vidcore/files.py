"""Which files are videos, and which a command line names."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from vidcore.errors import UsageError, UserError

VIDEO_ENDINGS = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""In lower case; what a folder holds besides is passed over."""

PICTURE_ENDINGS = frozenset({".jpeg", ".jpg", ".png", ".webp"})
"""Of the frames in a folder, in lower case; what it holds besides is passed over."""


def is_video(name: str) -> bool:
    """Whether a file's name has a video's ending."""
    stem, dot, ending = name.rpartition(".")
    return bool(stem) and dot + ending.lower() in VIDEO_ENDINGS


def is_pictures(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a picture, by its ending, or a folder, which is read as a folder of frames."""
    # Path.is_dir raises where there is no permission.
    return os.fspath(path).lower().endswith(tuple(PICTURE_ENDINGS)) or os.path.isdir(path)  # noqa: PTH112


def pictures(folder: str | os.PathLike[str]) -> list[str]:
    """The names of the pictures that lie in a folder, sorted.

    Raises:
        OSError: The system's own.
    """
    return sorted(name for name in os.listdir(folder) if Path(name).suffix.lower() in PICTURE_ENDINGS)  # noqa: PTH208


def cache_folder() -> Path:
    """The folder of this package in the user's cache, which need not exist.

    Raises:
        OSError: The user has no home folder, as in a container that is run with an unknown user.
    """
    with suppress(RuntimeError):  # of newer versions of platformdirs
        folder = user_cache_path("vidcore")
        if folder.is_absolute():  # it begins with ~ in older ones
            return folder
    raise FileNotFoundError(errno.ENOENT, "no home folder, set HOME or XDG_CACHE_HOME", "~")


def read_text(path: str | os.PathLike[str], errors: str = "strict") -> str:
    """The text of a UTF-8 file without its byte order mark; each line ends with a line feed, whatever ends it there.

    Args:
        path: The file.
        errors: How bytes that are not UTF-8 are read; ``surrogateescape``, as in names of files.

    Raises:
        UserError: The file cannot be read, or is not UTF-8; the text names the file and the line.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig", errors)
        position = content.find(b"\0")
        reason = "it holds a zero byte" if position >= 0 else ""
    except UnicodeDecodeError as error:
        position, reason = error.start, error.reason
    if reason:
        line = content.count(b"\n", 0, position) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text ({reason}); save the file as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def sha256(path: str | os.PathLike[str]) -> str:
    """The digest of a file's bytes, 64 hexadecimal digits.

    Raises:
        OSError: The system's own.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def expand_paths(arguments: Sequence[str], frames: bool = False) -> list[str]:
    """Files as they are, the videos below folders, and what glob patterns match, in order and without repeats.

    Args:
        arguments: Files, folders and patterns.
        frames: Whether a folder that holds pictures, and no video, is a video too.

    Raises:
        UsageError: An argument that stands for nothing.
    """
    paths: list[str] = []
    for argument in arguments:
        if Path(argument).is_dir():
            found = sorted(_videos_below(argument, frames))
            if not found:
                raise UsageError(f"no video below {argument}; known endings: {' '.join(sorted(VIDEO_ENDINGS))}")
        elif Path(argument).is_file():
            found = [argument]
        else:
            found = sorted(path for path in glob.glob(argument, recursive=True) if Path(path).is_file())
            if not found:
                raise UsageError(f"no file {argument}")
        paths += found
    return list(dict.fromkeys(paths))


def _videos_below(folder: str, frames: bool) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        videos = [name for name in names if is_video(name)]
        if frames and not videos and any(Path(name).suffix.lower() in PICTURE_ENDINGS for name in names):
            yield str(Path(parent))
        yield from (str(path) for name in videos if (path := Path(parent, name)).is_file())
