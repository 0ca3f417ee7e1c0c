"""``vid data check``: decode every file and report the broken ones."""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import TextIO

from vidcore.cli.data_sets import DataParser, videos
from vidcore.cli.processes import add_process_options, processes
from vidcore.cli.progress import Progress


def main(command: str, argv: list[str]) -> int:
    """Writes the report; exit status 1 where a file is broken."""
    parser = DataParser(
        command, "Decode every frame and all sound of video files; report as CSV, a row as soon as a file is done."
    )
    parser.add_argument("--output", metavar="FILE.csv", help="the report; default: print")
    add_process_options(parser, 60, "seconds a file may take, besides one a megabyte")
    arguments = parser.parse(argv)
    workers = processes(arguments)
    paths = list(videos(arguments)[0])
    workers = min(workers, len(paths))
    if arguments.output is None:
        return check(paths, sys.stdout, workers, arguments.timeout)
    Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
    # Names of files may hold bytes that are no text; they are written as they are.
    with Path(arguments.output).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        return check(paths, file, workers, arguments.timeout)


def check(paths: list[str], file: TextIO, workers: int, timeout: float) -> int:
    """Writes the report, and a summary to the standard error."""
    from vidcore.tools.check import FileReport, check_files

    begin, counts = time.perf_counter(), Counter[str]()
    writer = csv.DictWriter(file, [field.name for field in fields(FileReport)], lineterminator="\n")
    writer.writeheader()
    shown = file is not sys.stdout or not sys.stdout.isatty()  # rows on a terminal are progress enough
    with closing(check_files(paths, workers, timeout)) as reports, Progress("files", len(paths), shown) as progress:
        for report in reports:
            writer.writerow(asdict(report))
            file.flush()
            counts[report.status] += 1
            progress.advance()
    seconds = time.perf_counter() - begin
    print(f"vid: {len(paths)} files: {counts['ok']} ok, {counts['error']} broken; {seconds:.1f} s", file=sys.stderr)
    return 1 if counts["error"] else 0
