"""What a path may name besides a local file: a file at a URL, and a stretch of the bytes of either.

``s3://bucket/clips/a.mp4`` is read through fsspec, which needs the store's package (``s3fs``, ``gcsfs``, …). A path
that ends in ``#bytes=START-END``, END exclusive, names one of several videos in a file, as shards have them: one
request to a store reads it. A picture's ending follows: ``#bytes=START-END.jpg``.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from vidcore.errors import UserError
from vidcore.files import PICTURE_ENDINGS
from vidcore.redaction import HIDDEN, without_secrets_of

_STRETCH = re.compile(r"(?P<file>.+)#bytes=(?P<start>[0-9]{1,18})-(?P<end>[0-9]{1,18})(\.[a-zA-Z]+)?", re.DOTALL)
_LONGEST = 2**32
"""Bytes of a stretch at a URL, whose size is not known: a shard has fewer."""


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether fsspec reads it."""
    return "://" in os.fspath(path)


def is_plain(path: str | os.PathLike[str]) -> bool:
    """Whether it names a local file or folder as a whole, which any library can open by its name."""
    return not is_url(path) and not _STRETCH.fullmatch(os.fspath(path))


def stretch(file: str, start: int, end: int, content: str) -> str:
    """The path of bytes ``start`` to ``end``, exclusive, of a file.

    Args:
        file: The path of the file.
        start: First byte.
        end: Where to stop.
        content: The path that the bytes had as a file of their own, for the ending of a picture.
    """
    ending = PurePosixPath(content).suffix
    return f"{file}#bytes={start}-{end}{ending if ending.lower() in PICTURE_ENDINGS else ''}"


def _parts(path: str) -> tuple[str, int, int | None]:
    """A file and the stretch of it that a path names; to None: all of it.

    Raises:
        OSError: The stretch is empty.
    """
    found = _STRETCH.fullmatch(path)
    if not found:
        return path, 0, None
    file, start, end = found["file"], int(found["start"]), int(found["end"])
    if start >= end:
        raise OSError(f"bytes {start} to {end} are no range: it must end after its start")
    return file, start, end


def joined(root: str | os.PathLike[str], name: str) -> str:
    """A path below a folder or URL; a name that is a URL itself stays as it is."""
    if is_url(name):
        return name
    return posixpath.join(os.fspath(root), name) if is_url(root) else os.path.join(root, name)  # noqa: PTH118 - faster


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of fsspec for a URL, or for a local path, and the path in it.

    Raises:
        UserError: The protocol is unknown, its package is not installed, or the URL is
            :func:`~vidcore.redaction.redacted`.
    """
    from fsspec.core import url_to_fs

    if HIDDEN in url:
        raise UserError(f"{url} lacks its password or token, which is never written to a file: name it again in full")
    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UserError(f"{url} cannot be opened: {error}") from error


def size_of(path: str) -> int:
    """Bytes that a path takes up: a file's, a stretch's, or those of a folder's files.

    Raises:
        OSError: It cannot be read.
    """
    _, start, end = _parts(path)
    if end is not None:
        return end - start
    if is_url(path):
        fs, name = filesystem(path)
        return int(_as_os_error(path, fs.size, name))
    if Path(path).is_dir():
        return sum(file.stat().st_size for file in Path(path).iterdir() if file.is_file())
    return Path(path).stat().st_size


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """All bytes that a path names.

    Raises:
        OSError: They cannot be read, or there are fewer than a stretch says, as in a file that was cut off.
    """
    file, start, end = _parts(os.fspath(path))
    if is_url(file):
        if end is not None and end - start > _LONGEST:
            raise OSError(f"bytes {start} to {end} are more than the {_LONGEST} that are read at once")
        fs, name = filesystem(file)
        content = _as_os_error(file, fs.cat_file, name, start=start, end=end)
    else:
        with open(file, "rb") as stream:  # noqa: PTH123 - as all paths here, a text
            size = os.fstat(stream.fileno()).st_size
            stream.seek(min(start, size))  # no more than is there is asked for, since memory is allocated for it
            content = stream.read() if end is None else stream.read(min(end - start, size))
    if end is not None and len(content) != end - start:
        raise OSError(f"{file} is truncated or was replaced: it gives {len(content)} of the {end - start} bytes wanted")
    return content


def opened(path: str | os.PathLike[str]) -> Any:
    """What PyAV and other libraries open: the path itself where it is plain, else a file object.

    Raises:
        OSError: It cannot be read.
    """
    path = os.fspath(path)
    if is_plain(path):
        return path
    if _STRETCH.fullmatch(path):
        return io.BytesIO(read_bytes(path))
    fs, name = filesystem(path)
    return _Remote(path, _as_os_error(path, fs.open, name, "rb"))


class _Remote:
    """A file at a URL, whose failures are all OSErrors."""

    def __init__(self, url: str, file: Any) -> None:
        self._url, self._file = url, file

    def read(self, size: int = -1) -> bytes:
        return _as_os_error(self._url, self._file.read, size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return _as_os_error(self._url, self._file.seek, offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def _as_os_error(url: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Stores raise what their libraries like, and quote the URL with its password as they like."""
    try:
        return call(*args, **kwargs)
    except OSError as error:
        error.args = tuple(without_secrets_of(url, part) if isinstance(part, str) else part for part in error.args)
        if error.strerror is not None:
            error.strerror = without_secrets_of(url, error.strerror)
        if isinstance(error.filename, str):
            error.filename = without_secrets_of(url, error.filename)
        raise
    except Exception as error:
        raise OSError(without_secrets_of(url, f"{type(error).__name__}: {error}")) from None
