"""CSV files: read with errors that name file and line, written atomically."""

from __future__ import annotations

import csv
import errno
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from vidcore.errors import UserError
from vidcore.files import cache_folder, read_text
from vidcore.writing import cell, replacing
from vidcore_datasets.inputs import depends_on

logger = logging.getLogger(__name__)

_read_only: ContextVar[bool] = ContextVar("_read_only", default=False)


@contextmanager
def reading_only(on: bool) -> Iterator[None]:
    """Within the block, ``write_table_or_cache`` writes to the user's cache only, if ``on`` is True."""
    token = _read_only.set(on)
    try:
        yield
    finally:
        _read_only.reset(token)


def read_table(file: Path, errors: str = "strict") -> Iterator[tuple[int, list[str]]]:
    """Yield line number (from 1) and cells of each non-blank line of a CSV file (UTF-8, comma-separated).

    Args:
        file: CSV file.
        errors: Error handler for bytes that are not UTF-8; ``surrogateescape`` keeps them, for file names.

    Raises:
        UserError: The file cannot be read, is not UTF-8, or is not CSV.
    """
    try:
        with depends_on(file).open(newline="", encoding="utf-8-sig", errors=errors) as stream:
            reader = csv.reader(stream, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: not valid CSV ({error})") from error
    except UnicodeDecodeError as error:
        read_text(file)  # raises an error that names the line
        raise UserError(f"{file}: not UTF-8 text ({error})") from error
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from error


def cached_path(file: Path, kind: str) -> Path:
    """Return the path in the user's cache, in folder ``kind``, that replaces ``file`` if its folder is not writable."""
    digest = hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:16]
    return cache_folder() / kind / f"{file.resolve().parent.name}-{digest}{file.suffix}"


def write_table(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file.

    The file is renamed into place, so that other processes see no file or a complete one.

    Raises:
        OSError: The file cannot be written; an existing file is unchanged.
    """
    with replacing(file) as part, part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(map(cell, row) for row in rows)


def write_table_or_cache(file: Path, kind: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path | None:
    """Write a CSV file or, if its folder is not writable or read-only, the file at ``cached_path``.

    Returns:
        Path of the written file; None, with a warning, if neither could be written.
    """
    try:
        if _read_only.get() and cache_folder() not in file.parents:
            raise PermissionError(errno.EROFS, "is only read", str(file))
        write_table(file, header, rows)
    except OSError:
        try:
            cached = cached_path(file, kind)
            cached.parent.mkdir(parents=True, exist_ok=True)
            write_table(cached, header, rows)
        except OSError as error:
            where = f"neither in {file.parent} nor in the user's cache"
            logger.warning("%s cannot be written, %s: %s", file.name, where, error)
            return None
        return cached
    return file
