"""``vid data stats``: durations, frame sizes and class balance of a data set."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcore.errors import UsageError
from vidcore.progress import Progress
from vidcore.redaction import labels, redacted, without_secrets_of
from vidcore.text import printable, to_json
from vidcore.writing import cell
from vidcore_datasets.commands.processes import add_process_options, processes
from vidcore_datasets.commands.videos import DataParser, videos

if TYPE_CHECKING:
    from vidcore.reading.index import SampleIndex
    from vidcore.task import Task
    from vidcore_datasets.statistics.stats import Header

FOLDER_FPS = 30.0
"""Frame rate in Hz of folders of frames, if the data set does not define one."""


def main(command: str, argv: list[str]) -> int:
    """Print a table, and write a page with plots; return exit status 1 if a file cannot be opened."""
    parser = DataParser(
        command, "Durations, frame rates, sizes and class balance of videos, from their headers without decoding."
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="output folder for index.html with plots, files.csv and stats.json"
    )
    add_process_options(parser, 60, "time limit per file in seconds")
    arguments = parser.parse(argv)
    workers = processes(arguments)
    if arguments.output is not None and Path(arguments.output).is_file():
        raise UsageError(f"--output {arguments.output} is a file; it must be a folder")
    paths, data, samples = videos(arguments)
    headers = _headers(paths, samples, workers, arguments.timeout)
    task, called = None if data is None else data.task, labels(paths)
    stats = summaries(headers, samples, task)
    _show(stats)
    if arguments.output is not None:
        folder = Path(arguments.output)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "files.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            from vidcore_datasets.statistics.stats import Header

            writer = csv.DictWriter(file, [field.name for field in fields(Header)], lineterminator="\n")
            writer.writeheader()
            for header in headers:
                row = {**asdict(header), "path": called[header.path]}
                writer.writerow({key: cell(value) for key, value in row.items()})
        (folder / "stats.json").write_text(to_json(stats, indent=1), encoding="utf-8")

        from vidcore_datasets.statistics import page as data_page

        title = type(data).__name__ if data is not None else printable(redacted(", ".join(arguments.paths[:3])))
        data_page.write(title, headers, stats, () if task is None else task.classes, folder)
        print(f"vid: wrote {folder / 'index.html'}", file=sys.stderr)
    broken = [header for header in headers if header.error]
    for header in broken[:5]:
        print(f"vid: cannot be opened: {called[header.path]}: {header.error}", file=sys.stderr)
    if len(broken) > 5:
        print(f"vid: and {len(broken) - 5} more; --output FOLDER lists them in files.csv", file=sys.stderr)
    return 1 if broken else 0


def _headers(
    paths: Mapping[str, str], samples: Mapping[str, SampleIndex], workers: int, timeout: float
) -> list[Header]:
    """Return headers in the order of the paths, with frame rates for folders."""
    from vidcore_datasets.statistics.stats import read_headers

    found: dict[str, Header] = {}
    reading = read_headers(list(paths), min(workers, len(paths)), timeout)
    with closing(reading) as headers, Progress("files", len(paths)) as progress:
        for header in headers:
            found[header.path] = header
            progress.advance()
    rates = {sample.path: sample.fps for part in samples.values() if "fps" in part.arrays for sample in part}
    for path, header in found.items():
        header.split, header.error = paths[path], without_secrets_of(path, header.error)
        if header.frames and header.fps is None and not header.error:
            header.fps = rates.get(path) or FOLDER_FPS
            header.duration = header.frames / header.fps
    return [found[path] for path in paths]


def summaries(headers: Sequence[Header], samples: Mapping[str, SampleIndex], task: Task | None) -> dict[str, Any]:
    """Return the statistics of each split, or of ``all`` without splits."""
    from vidcore_datasets.statistics.stats import class_balance, summary

    if not samples or task is None:
        return {"all": summary(headers)}
    by_path = {header.path: header for header in headers}
    stats: dict[str, Any] = {}
    for split, part in samples.items():
        labels, _ = part.labels
        stats[split] = {
            "samples": len(part),
            **summary([by_path[path] for path in dict.fromkeys(part.paths)]),
            **class_balance(labels, task.classes),
        }
    return stats


def _show(stats: Mapping[str, Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from vidcore_datasets.statistics.stats import table

    shown = Table("", *stats)
    for name, cells in table(stats):
        shown.add_row(name, *cells)
    Console(markup=False, emoji=False).print(shown)
