"""CSV files: read with errors that name file and line, written whole or not at all."""

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
    """Within the block :func:`write_table_or_cache` writes to the user's cache alone."""
    token = _read_only.set(on)
    try:
        yield
    finally:
        _read_only.reset(token)


def read_table(file: Path, errors: str = "strict") -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file (UTF-8, commas) that are not blank: number, counted from 1, and cells.

    Args:
        file: The file.
        errors: How bytes that are not UTF-8 are read; ``surrogateescape``, as in names of files.

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
        read_text(file)  # which names the line
        raise UserError(f"{file}: not UTF-8 text ({error})") from error
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from error


def cached_path(file: Path, kind: str) -> Path:
    """Where ``file`` is kept in the user's cache, in a folder ``kind``, if its own cannot be written to."""
    digest = hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:16]
    return cache_folder() / kind / f"{file.resolve().parent.name}-{digest}{file.suffix}"


def write_table(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file.

    It is renamed into place: processes that start together each see no file or a whole one, and all write the same.

    Raises:
        OSError: The system's own; what was there is as it was.
    """
    with replacing(file) as part, part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(map(cell, row) for row in rows)


def write_table_or_cache(file: Path, kind: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path | None:
    """Write a CSV file at its place or, where that refuses or is only read, at :func:`cached_path`.

    Returns:
        Where it is; None, with a warning, if it could be written in neither place.
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
