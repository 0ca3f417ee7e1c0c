"""Paths other than local files: files at a URL, and byte ranges of a file.

``s3://bucket/clips/a.mp4`` is read through fsspec, which needs the store's package (``s3fs``, ``gcsfs``, …). A path
that ends in ``#bytes=START-END``, END exclusive, is one of several videos in a file (a shard); it is read with one
request. For images, the suffix follows: ``#bytes=START-END.jpg``.
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
"""Maximum length in bytes of a range at a URL, where the size of the file is unknown; larger than any shard."""


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether the path is a URL, to be read through fsspec."""
    return "://" in os.fspath(path)


def is_plain(path: str | os.PathLike[str]) -> bool:
    """Whether the path is a complete local file or folder, which any library can open."""
    return not is_url(path) and not _STRETCH.fullmatch(os.fspath(path))


def stretch(file: str, start: int, end: int, content: str) -> str:
    """Return the path of bytes ``start`` to ``end`` (exclusive) of a file.

    Args:
        file: Path of the file.
        start: First byte.
        end: End, exclusive.
        content: Original path of the bytes as a separate file, for the suffix of an image.
    """
    ending = PurePosixPath(content).suffix
    return f"{file}#bytes={start}-{end}{ending if ending.lower() in PICTURE_ENDINGS else ''}"


def _parts(path: str) -> tuple[str, int, int | None]:
    """Split a path into file, start and end of the byte range; end is None for the complete file.

    Raises:
        OSError: The range is empty.
    """
    found = _STRETCH.fullmatch(path)
    if not found:
        return path, 0, None
    file, start, end = found["file"], int(found["start"]), int(found["end"])
    if start >= end:
        raise OSError(f"bytes {start} to {end} are not a range: the end must be after the start")
    return file, start, end


def joined(root: str | os.PathLike[str], name: str) -> str:
    """Join a folder or URL with a name; a name that is a URL is returned unchanged."""
    if is_url(name):
        return name
    return posixpath.join(os.fspath(root), name) if is_url(root) else os.path.join(root, name)  # noqa: PTH118 - faster


def filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL or local path, and the path within it.

    Raises:
        UserError: The protocol is unknown, its package is not installed, or the URL is
            ``vidcore.redaction.redacted``.
    """
    from fsspec.core import url_to_fs

    if HIDDEN in url:
        raise UserError(f"{url} lacks its password or token, which is never written to a file: pass the complete URL")
    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UserError(f"{url} cannot be opened: {error}") from error


def size_of(path: str) -> int:
    """Return the size in bytes of a file, a byte range, or all files in a folder.

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
    """Read all bytes of a path.

    Raises:
        OSError: They cannot be read, or the file ends before the byte range does.
    """
    file, start, end = _parts(os.fspath(path))
    if is_url(file):
        if end is not None and end - start > _LONGEST:
            raise OSError(f"bytes {start} to {end} exceed the limit of {_LONGEST} bytes per request")
        fs, name = filesystem(file)
        content = _as_os_error(file, fs.cat_file, name, start=start, end=end)
    else:
        with open(file, "rb") as stream:  # noqa: PTH123 - as all paths here, a text
            size = os.fstat(stream.fileno()).st_size
            stream.seek(min(start, size))  # never request more than the file has: memory is allocated for it
            content = stream.read() if end is None else stream.read(min(end - start, size))
    if end is not None and len(content) != end - start:
        raise OSError(f"{file} is truncated or was replaced: got {len(content)} of {end - start} bytes")
    return content


def opened(path: str | os.PathLike[str]) -> Any:
    """Return an object that PyAV and other libraries can open: the path itself if it is plain, otherwise a file object.

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
    """File at a URL; all its errors are OSErrors."""

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
    """Call a function of a store; convert its errors to OSError and remove secrets of the URL from their messages."""
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
