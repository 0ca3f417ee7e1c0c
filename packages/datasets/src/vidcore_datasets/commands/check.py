"""``vid data check``: decode every file and report the broken ones."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, fields
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from vidcore.errors import UsageError
from vidcore.progress import Progress
from vidcore.redaction import labels, without_secrets_of
from vidcore.writing import cell
from vidcore_datasets.commands.processes import add_process_options, processes
from vidcore_datasets.commands.videos import DataParser, videos


def main(command: str, argv: list[str]) -> int:
    """Write the report; return exit status 1 if a file is broken."""
    parser = DataParser(
        command, "Decode every frame and all audio of video files; write one CSV row per file as soon as it is done."
    )
    parser.add_argument("--output", metavar="FILE.csv", help="file for the report; default: standard output")
    parser.add_argument("--against", metavar="EARLIER.csv", help="report changes since an earlier report")
    add_process_options(parser, 60, "time limit per file in seconds, plus one per megabyte")
    arguments = parser.parse(argv)
    arguments.num_workers = processes(arguments)
    earlier = _earlier(arguments) if arguments.against else {}
    paths = list(videos(arguments)[0])
    # File names may contain bytes that are not UTF-8; they are written unchanged.
    if arguments.output is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")
        return check(paths, earlier, sys.stdout, arguments)
    Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
    with Path(arguments.output).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        return check(paths, earlier, file, arguments)


def _earlier(arguments: argparse.Namespace) -> dict[str, str]:
    from vidcore_datasets.checking.earlier import read_digests

    if arguments.output and Path(arguments.output).resolve() == Path(arguments.against).resolve():
        raise UsageError(f"--output would overwrite {arguments.against}, which --against compares with")
    return read_digests(arguments.against)


def check(paths: list[str], earlier: Mapping[str, str], file: TextIO, arguments: argparse.Namespace) -> int:
    """Write the report, and a summary to standard error; ``earlier`` maps paths to digests of an earlier report."""
    from vidcore_datasets.checking.check import FileReport, check_files
    from vidcore_datasets.checking.earlier import compared, match

    called = labels(paths)
    known, missing = match(list(called.values()), earlier) if earlier else ({}, [])
    known = {path: known[called[path]] for path in paths if called[path] in known}
    total = len(paths) + len(missing)
    begin, counts = time.perf_counter(), Counter[str]()
    writer = csv.DictWriter(file, [field.name for field in fields(FileReport)], lineterminator="\n")
    writer.writeheader()
    shown = file is not sys.stdout or not sys.stdout.isatty()  # rows on a terminal already show progress
    found = check_files(paths, min(arguments.num_workers, len(paths)), arguments.timeout)
    with closing(found), Progress("files", total, shown) as progress:
        for report in compared(found, known, missing, arguments.against):
            row = {
                **asdict(report),
                "path": called.get(report.path, report.path),
                "reason": without_secrets_of(report.path, report.reason),
            }
            writer.writerow({key: cell(value) for key, value in row.items()})
            file.flush()
            counts[report.status] += 1
            progress.advance()
    seconds = time.perf_counter() - begin
    comparing = f"; compared with {arguments.against}: {sum(map(bool, known.values()))}" if earlier else ""
    summary = f"{counts['ok']} ok, {counts['error']} broken; {seconds:.1f} s{comparing}"
    print(f"vid: {total} files: {summary}", file=sys.stderr)
    return 1 if counts["error"] else 0
