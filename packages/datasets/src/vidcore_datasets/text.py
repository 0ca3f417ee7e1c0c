"""Read annotation files as text or JSON, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidcore.errors import UserError
from vidcore.files import read_text
from vidcore_datasets.inputs import depends_on


def read_lines(path: str | Path, errors: str = "strict") -> list[tuple[int, str]]:
    """Return number (from 1) and stripped text of each non-blank line of a UTF-8 file.

    Args:
        path: Text file.
        errors: Error handler for bytes that are not UTF-8; ``surrogateescape`` keeps them, for file names.

    Raises:
        UserError: The file cannot be read, or is not UTF-8.
    """
    lines = enumerate(read_text(depends_on(Path(path)), errors).split("\n"), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UserError: The file cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(depends_on(Path(path))))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
