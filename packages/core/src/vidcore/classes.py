"""Lists of class names, read with errors that name the file and the line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vidcore.errors import UserError
from vidcore.files import read_text

MOST, LONGEST = 100_000, 1_000
"""Limits of a list: classes, and characters per name. A file beyond them is not a list of classes."""


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Class names from a text file (UTF-8), one per line; blank lines are skipped.

    Raises:
        UserError: The file cannot be read, or ``checked_classes`` refuses it.
    """
    lines = enumerate(read_text(path).split("\n"), 1)
    return checked_classes(((number, line.strip()) for number, line in lines if line.strip()), path)


def checked_classes(names: Iterable[tuple[int, object]], path: str | Path, unit: str = "line") -> tuple[str, ...]:
    """Check that class names are different texts.

    Args:
        names: Each name after the number of its line or entry, in index order.
        path: Their file, for the error.
        unit: What is numbered, for the error.

    Returns:
        The names.

    Raises:
        UserError: No name, too many, or one that is not text, blank, too long, or listed twice.
    """
    found: dict[str, int] = {}
    for number, name in names:
        where = f"{path}, {unit} {number}"
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{where}: a class must have a name, not {name!r}")
        if len(name) > LONGEST:
            raise UserError(f"{where}: a class name of {len(name)} characters; at most {LONGEST} are allowed")
        if name in found:
            raise UserError(f"{where}: class {name!r} is listed already in {unit} {found[name]}; remove one of them")
        if len(found) == MOST:
            raise UserError(f"{where}: more than {MOST} classes; is it a list of classes?")
        found[name] = number
    if not found:
        raise UserError(f"{path} lists no classes: expected one per {unit}")
    return tuple(found)


def shown(name: str, length: int = 28) -> str:
    """A class name for a picture or a message: one line, unprintable characters as spaces, cut to ``length``."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
