"""Annotation files as text, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidcore.errors import UserError
from vidcore.files import read_text
from vidcore_datasets.inputs import depends_on


def read_lines(path: str | Path, errors: str = "strict") -> list[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank, stripped, each after its number, counted from 1.

    Args:
        path: The file.
        errors: How bytes that are not UTF-8 are read; ``surrogateescape``, as in names of files.

    Raises:
        UserError: The file cannot be read, or is not UTF-8.
    """
    lines = enumerate(read_text(depends_on(Path(path)), errors).split("\n"), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: The file cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(depends_on(Path(path))))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
