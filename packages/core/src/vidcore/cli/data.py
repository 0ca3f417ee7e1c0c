"""``vid data check``: decode every file and report the broken ones; the other subcommands have files of their own."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import TextIO

from vidcore.cli import UsageError
from vidcore.cli.data_sets import DataParser, videos
from vidcore.cli.progress import Progress


def main(command: str, argv: list[str]) -> int:
    """Runs one of the subcommands."""
    if argv[:1] == ["stats"]:
        from vidcore.cli.data_stats import main as stats

        return stats(f"{command} stats", argv[1:])
    if argv[:1] == ["prepare"]:
        from vidcore.cli.prepare import main as prepare

        return prepare(f"{command} prepare", argv[1:])
    parser = DataParser(
        f"{command} check",
        "Decode every frame and all sound of video files; report as CSV, a row as soon as a file is done.",
    )
    parser.add_argument("--num_workers", type=int, metavar="N", help="files to read at once; default: all processors")
    parser.add_argument("--output", metavar="FILE.csv", help="the report; default: print")
    parser.add_argument(
        "--timeout", type=float, default=60, metavar="S", help="seconds a file may take, besides one a megabyte (60)"
    )
    if not argv or argv[0] not in ("check", "-h", "--help"):
        raise UsageError(f"vid {command} has the commands check, prepare and stats: vid {command} check PATH…")
    arguments = parser.parse(argv[1:] if argv[0] == "check" else argv)
    workers = processors() if arguments.num_workers is None else arguments.num_workers
    if workers < 1:
        raise UsageError(f"--num_workers must be at least 1, not {workers}")
    if not arguments.timeout > 0:
        raise UsageError(f"--timeout must be positive, not {arguments.timeout:g}")
    paths = list(videos(arguments)[0])
    workers = min(workers, len(paths))
    if arguments.output is None:
        return check(paths, sys.stdout, workers, arguments.timeout)
    Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
    # Names of files may hold bytes that are no text; they are written as they are.
    with Path(arguments.output).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        return check(paths, file, workers, arguments.timeout)


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
