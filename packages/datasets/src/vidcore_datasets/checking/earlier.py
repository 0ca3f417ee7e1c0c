"""Compare files with an earlier report of ``vid data check`` by their digests."""

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
    """Read the ``sha256`` of each path from a report; empty if it has none.

    Raises:
        UserError: The report cannot be read, lists no file, lacks columns, or is of a version without ``sha256``.
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
    """Match files with those of an earlier report, even if their folder has moved.

    Paths are compared below the deepest folder common to all files of a list. If files are missing, that folder may be
    deeper; paths of one list are then extended upwards to where most of them match.

    Args:
        paths: Existing files.
        digests: Path to digest in the earlier report.

    Returns:
        Path to earlier digest of the files in both, and the expected paths of the missing files.
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
    """Return the depth of the deepest folder common to all files."""
    folders = [parts[:-1] for parts in files]
    return sum(1 for _ in takewhile(bool, map(operator.eq, min(folders), max(folders))))


def compared(
    reports: Iterable[FileReport], digests: Mapping[str, str], missing: Iterable[str], file: str
) -> Iterator[FileReport]:
    """Yield the reports, with an error for each changed digest, and a report for each missing file.

    Args:
        reports: Reports of the files.
        digests: Path to digest in the earlier report.
        missing: Files of the earlier report that no longer exist.
        file: Earlier report, named in error messages.
    """
    for report in reports:
        earlier = digests.get(report.path)
        if earlier and report.sha256 and report.sha256 != earlier:
            changed = f"its bytes have changed since {file}"
            report.status, report.reason = "error", f"{changed}: {report.reason}" if report.reason else changed
        yield report
    for path in missing:
        yield FileReport(path, "error", f"is missing: {file} lists it")
