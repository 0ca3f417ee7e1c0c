"""The rows of ``vid predict`` in files: JSON Lines that grow by the row, and Parquet that is made of them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from vidcore.errors import UsageError, UserError
from vidcore.redaction import redacted
from vidcore.text import printable, to_json
from vidcore.writing import replacing

Row = dict[str, Any]
"""``path``, and ``error`` or what was predicted."""


def as_line(row: Row) -> bytes:
    """A row as a line of JSON; numbers that are not finite are null."""
    return to_json(row, ensure_ascii=False).encode() + b"\n"


class RowFile:
    """Appends rows to a JSON Lines file; each is there, whole, when ``write`` returns.

    Args:
        path: The file; it is opened with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None

    def write(self, row: Row) -> None:
        """Appends a row.

        Raises:
            UserError: The system refuses; the file ends with the row before.
        """
        try:
            if self._file is None:
                self._file = self.path.open("ab", buffering=0)
            before, left = self._file.tell(), as_line(row)
            try:
                while left:
                    left = left[self._file.write(left) :]
            except OSError:
                self._file.truncate(before)
                raise
        except OSError as error:
            raise _kept(self.path, error) from error

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


class Output:
    """The file that a run writes, and its parts beside it, which are joined at the end.

    A part is JSON Lines, whatever the output is: ``out.parquet.part0`` and so on. A single process that writes JSON
    Lines appends to the output itself.

    Args:
        path: Ends in ``.jsonl`` or ``.parquet``.

    Raises:
        UsageError: It has another ending, or is a folder.
        UserError: What writes Parquet is not installed.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).resolve()  # a link stays a link
        self.parquet = Path(path).suffix == ".parquet"
        if Path(path).suffix not in (".jsonl", ".parquet"):
            raise UsageError(f"--output {path} must end in .jsonl or .parquet")
        if self.path.is_dir():
            raise UsageError(f"--output {path} is a folder")
        if self.parquet and importlib.util.find_spec("pyarrow") is None:
            raise UserError("Parquet needs pyarrow: pip install 'vidcore[parquet]'; or let --output end in .jsonl")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs off this output; the system ends that with the process, however it ends.

        Raises:
            UserError: Another run is at it.
        """
        from filelock import FileLock, Timeout

        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"another vid predict is writing {self.path}; processes share a list with --devices N"
            ) from None
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file
                Path(lock.lock_file).unlink()
            lock.release()

    def file(self, rank: int = 0, processes: int = 1) -> RowFile:
        """The file that a process appends to."""
        own = self.parquet or processes > 1
        return RowFile(self.path.with_name(f"{self.path.name}.part{rank}") if own else self.path)

    def read(self) -> list[Row]:
        """The rows in the output and in all parts, whatever run left them; of a path, the last.

        Raises:
            UserError: A file is not one that ``vid predict`` wrote.
        """
        rows: dict[str, Row] = {}
        if self.path.exists():
            rows |= {row["path"]: row for row in (_parquet_rows if self.parquet else _json_rows)(self.path)}
        for part in self._parts():
            rows |= {row["path"]: row for row in _json_rows(part)}
        return list(rows.values())

    def join(self, paths: Sequence[str]) -> list[Row]:
        """Puts all rows into the output, in the order of ``paths`` and after those of other videos; removes the parts.

        Returns:
            The rows.

        Raises:
            UserError: As ``read``; or the system refuses, and all files are as they were.
        """
        place = {printable(redacted(path)): number for number, path in enumerate(paths)}
        rows = sorted(self.read(), key=lambda row: place.get(row["path"], -1))
        if rows or self.path.exists():
            _replace(self.path, lambda file: (_write_parquet if self.parquet else _write_json)(file, rows))
        for part in self._parts():
            part.unlink()
        return rows

    def _parts(self) -> list[Path]:
        beginning = f"{self.path.name}.part"
        siblings = self.path.parent.iterdir() if self.path.parent.exists() else ()
        numbers = (file.name.removeprefix(beginning) for file in siblings if file.name.startswith(beginning))
        return [self.path.with_name(beginning + number) for number in sorted(numbers) if number.isdigit()]


def _kept(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: {error.strerror or error}; the rows so far are kept, and the same command goes on")


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """A file is either the old one or the new one, never a half."""
    try:
        with replacing(path) as part:
            write(part)
    except OSError as error:
        raise _kept(path, error) from error


def _json_rows(path: Path) -> Iterator[Row]:
    """The rows of a file; a last line that a kill cut off is none."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
                if not line.endswith(b"\n"):
                    return
            if not (isinstance(row, dict) and isinstance(row.get("path"), str) and row.keys() & {"gmacs", "error"}):
                raise UserError(f"{path} is left alone: its line {number} is no row of vid predict")
            yield row


def _write_json(path: Path, rows: Sequence[Row]) -> None:
    with path.open("wb") as file:
        file.writelines(map(as_line, rows))


def _schema() -> Any:
    import pyarrow

    text, number = pyarrow.string(), pyarrow.float64()
    seen = {"class": text, "score": number}
    found = {"frame": pyarrow.int64(), **seen, "box": pyarrow.list_(number)}
    columns = {
        "path": text,
        "top": pyarrow.list_(pyarrow.struct(seen.items())),
        "detections": pyarrow.list_(pyarrow.struct(found.items())),
        "decisions": pyarrow.list_(pyarrow.struct({"component": text, "ran": pyarrow.list_(pyarrow.bool_())}.items())),
        "gmacs": number,
        "ms": number,
        "rendered": text,
        "error": text,
    }
    return pyarrow.schema(columns.items())


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()  # read_table would take columns from the folders' names
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} is left alone: it is no Parquet file ({error})") from error
    schema = _schema()
    earlier = schema.remove(schema.get_field_index("decisions"))  # files written before there were decisions
    if table.schema not in (schema, earlier):
        raise UserError(f"{path} is left alone: its columns are not those of vid predict")
    for row in table.to_pylist():
        if row.get("decisions") is not None:
            row["decisions"] = {each["component"]: each["ran"] for each in row["decisions"]}
        yield {name: value for name, value in row.items() if value is not None}


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow
    from pyarrow import parquet

    flat = [
        {**row, "decisions": [{"component": name, "ran": ran} for name, ran in row["decisions"].items()]}
        if "decisions" in row
        else row
        for row in rows
    ]
    parquet.write_table(pyarrow.Table.from_pylist(flat, schema=_schema()), path)
