"""Files that are either complete or not there, and CSV cells that are harmless."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

PART = ".part"
"""Suffix of the folders of incomplete files; their names begin with a dot."""

_FORMULA = re.compile(r"'*(\s*[=+\-@＝＋－＠]|[\t\r\n])")


def cell(value: _T) -> _T | str:
    """A value as a CSV cell that no spreadsheet takes for a formula: a text that begins like one gets a ``'`` before.

    Example:
        >>> cell("=1+2.mp4"), cell("a.mp4"), cell(-1.5)
        ("'=1+2.mp4", 'a.mp4', -1.5)
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def from_cell(text: str) -> str:
    """The text that ``cell`` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


@contextmanager
def part_beside(path: Path) -> Iterator[Path]:
    """Give a path of the same name in a new folder beside ``path``, which only this process can have made.

    The folder is removed when the block is left. What a killed process leaves of it is called ``.NAME.XXXXXXXX.part``.

    Raises:
        OSError: The system's own.
    """
    # Of a long name only the beginning, since names are limited to 255 bytes.
    with tempfile.TemporaryDirectory(PART, f".{path.name[:40]}.", path.parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder, path.name)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write a file to, and move that to ``path`` when the block ends.

    Whatever ends the block early leaves ``path`` as it was. A link at ``path`` is replaced, never followed; the file's
    permissions are those of any new file.

    Args:
        path: The file. What is yielded has its name, so that libraries see its suffix.

    Raises:
        OSError: The system's own, with ``path`` as the file's name.
    """
    folder = ""
    try:
        with part_beside(path) as part:
            folder = str(part.parent)
            part.touch()
            mode = part.stat().st_mode  # of any new file; some libraries make theirs private
            yield part
            part.chmod(mode)
            part.replace(path)
    except OSError as error:
        ours = error.filename is None or str(error.filename).startswith(folder)
        if error.errno is None or not ours or error.filename == str(path):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it survives a power cut, see ``replacing``; makes its folder.

    Raises:
        OSError: The system's own, with the file's name; what was at ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
