"""Has a file changed since an earlier report of ``vid data check``? Its digest tells, where nothing in it can."""

from __future__ import annotations

import csv
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePath

from vidcore.errors import UserError
from vidcore.writing import from_cell
from vidcore_datasets.checking.check import FileReport


def read_digests(file: str) -> dict[str, str]:
    """The files that a report lists: path to ``sha256``, empty where it has none.

    Raises:
        UserError: It cannot be read, lists no file, or lacks the columns; one of a version before there was ``sha256``.
    """
    digests: dict[str, str] = {}
    try:
        with Path(file).open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream, restval="nothing")
            for column in {"path", "sha256"}.difference(reader.fieldnames or ()):
                raise UserError(f"{file} has no column {column}: it must be a report that this vid data check wrote")
            for row in reader:
                if not re.fullmatch("([0-9a-f]{64})?", row["sha256"]):
                    line = f"{file}, line {reader.line_num}"
                    raise UserError(f"{line}: sha256 must be 64 hexadecimal digits, not {row['sha256']!r}")
                digests[from_cell(row["path"])] = row["sha256"]
    except (OSError, csv.Error) as error:
        raise UserError(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    if not digests:
        raise UserError(f"{file} lists no file to compare with")
    return digests


def match(paths: Sequence[str], digests: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Finds the files of an earlier report again, wherever the folder that they are in lies now.

    Paths are compared below the deepest folder that all files of a list are in. That folder is deeper where files are
    missing: then paths begin above it, in the one list or the other, where most of them match.

    Args:
        paths: The files that there are.
        digests: Path to digest in the earlier report.

    Returns:
        Path to earlier digest, of the files that are in both; and where those that are missing would be.
    """
    now, then = ({path: PurePath(path).parts for path in some} for some in (paths, digests))
    here, there = (_depth(some.values()) for some in (now, then))

    def matches(depths: tuple[int, int]) -> int:
        return len({parts[depths[0] :] for parts in now.values()} & {parts[depths[1] :] for parts in then.values()})

    higher = [*((up, there) for up in reversed(range(here))), *((here, up) for up in reversed(range(there)))]
    here, there = max([(here, there), *higher], key=matches)
    earlier = {parts[there:]: digests[path] for path, parts in then.items()}
    found = {path: earlier[parts[here:]] for path, parts in now.items() if parts[here:] in earlier}
    folder = next(iter(now.values()))[:here]
    missing = earlier.keys() - {parts[here:] for parts in now.values()}
    return found, [str(Path(*folder, *parts)) for parts in sorted(missing)]


def _depth(files: Iterable[tuple[str, ...]]) -> int:
    """Of the deepest folder that all files are in."""
    folders = [parts[:-1] for parts in files]
    return sum(1 for _ in takewhile(bool, map(operator.eq, min(folders), max(folders))))


def compared(
    reports: Iterable[FileReport], digests: Mapping[str, str], missing: Iterable[str], file: str
) -> Iterator[FileReport]:
    """The reports, with an error where a digest is another one than earlier; and one on each file that is missing.

    Args:
        reports: What checking the files gives.
        digests: Path to earlier digest.
        missing: The files that there were and are not.
        file: The earlier report, which reasons name.
    """
    for report in reports:
        earlier = digests.get(report.path)
        if earlier and report.sha256 and report.sha256 != earlier:
            changed = f"its bytes have changed since {file}"
            report.status, report.reason = "error", f"{changed}: {report.reason}" if report.reason else changed
        yield report
    for path in missing:
        yield FileReport(path, "error", f"is missing: {file} lists it")
