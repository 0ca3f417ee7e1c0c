"""``vid data prepare``: re-encode a data set's videos, extract their frames, or write them into shards."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from vidcore.cli import names, options
from vidcore.cli.parsing import Parser, number_in, whole_in
from vidcore.errors import UsageError
from vidcore.progress import Progress
from vidcore.redaction import redacted
from vidcore_datasets.commands.processes import add_process_options, processes
from vidcore_datasets.commands.videos import SPLITS, load_data, split_arguments

if TYPE_CHECKING:
    from vidcore.datamodule import VideoDataModule
    from vidcore_datasets.preparing import Result

FORMS = ("video", "frames", "shards")
OF_FORMS = {"short_side": ("video", "frames"), "gop": ("video",), "shard_mb": ("shards",)}
"""Options that apply to some forms only."""

DATA_OPTIONS = """
the data:
  --data NAME           an installed data set, with its own options: --data.path labels.csv …
  -c, --config FILE     a config file with a data part
"""


def main(command: str, argv: list[str]) -> int:
    """Write missing outputs; return exit status 1 if a video cannot be read."""
    parser = Parser(
        command,
        "Prepare the videos of a data set for training. An interrupted run is continued by the same command.",
        epilog=DATA_OPTIONS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--to", required=True, metavar="FOLDER", help="output folder; for shards also a URL: s3://…")
    parser.add_argument(
        "--as",
        dest="form",
        required=True,
        choices=FORMS,
        metavar="FORM",
        help="video: mp4 with dense key frames; frames: JPEG folders; shards: unchanged files in LitData shards",
    )
    parser.add_argument(
        "--short_side",
        type=whole_in("[16, 16384]"),
        metavar="PIXELS",
        help="video and frames: maximum short side (256)",
    )
    parser.add_argument(
        "--gop", type=whole_in("[1, 100000]"), metavar="N", help="video: key frame interval in frames (8)"
    )
    parser.add_argument(
        "--shard_mb", type=number_in("(0, 1000000]"), metavar="MB", help="shards: approximate size (64)"
    )
    add_process_options(parser, 120, "time limit per video in seconds, plus ten per megabyte")
    own, data = split_arguments(argv)
    if any(argument.startswith("--data.help") for argument in data):
        load_data(data)
    arguments = parser.parse_args(own)
    for name, forms in OF_FORMS.items():
        value = getattr(arguments, name)
        if value is not None and arguments.form not in forms:
            raise UsageError(f"--{name} is for --as {' and '.join(forms)}, not for {arguments.form}")
    if "://" in arguments.to and arguments.form != "shards":
        raise UsageError(f"--as {arguments.form} writes to a folder; only shards go to a URL")
    workers = processes(arguments)
    if not data:
        raise UsageError(f"vid {command} needs --data NAME; installed: {names.installed('data')}")
    options.check(command, data, names.chosen(command, data))
    return prepare(load_data(data), arguments, workers)


def prepare(data: VideoDataModule, arguments: argparse.Namespace, workers: int) -> int:
    """Run all jobs and print the result."""
    from vidcore.errors import UserError
    from vidcore_datasets import preparing as tool

    given = {name: getattr(arguments, name) for name in OF_FORMS if getattr(arguments, name) is not None}
    if "shard_mb" in given:
        given["shard_bytes"] = round(given.pop("shard_mb") * 1e6)
    settings = tool.Settings(arguments.form, arguments.to, **given)
    data.prepare_data()
    samples = {str(split): data.samples(split) for split in SPLITS}
    jobs = tool.jobs_of(samples, settings)
    if not jobs:
        raise UserError(f"{type(data).__name__} has no samples")
    videos, begin = sum(len(job.sources) for job in jobs), time.perf_counter()
    results: list[Result] = []
    unreadable: dict[str, str] = {}
    with tool.claimed(settings, jobs):
        running = tool.run_jobs(jobs, settings, workers, arguments.timeout)
        with closing(running), Progress("videos", videos) as progress:
            for result in running:
                results.append(result)
                unreadable |= result.unreadable
                progress.advance(len(result.prepared) + len(result.unreadable))
        seconds = time.perf_counter() - begin
        table = tool.write_unreadable(unreadable, settings)
        left_out = tool.write_samples(samples, data.task, settings, results)
    _summarise(results, videos, seconds)
    if unreadable:
        print(
            f"vid: {len(unreadable)} videos cannot be read, and {left_out} samples are left out: "
            f"see {redacted(arguments.to)}/{table}",
            file=sys.stderr,
        )
    print(f"vid: to train on it: --data prepared --data.root {redacted(arguments.to)}", file=sys.stderr)
    return 1 if unreadable else 0


def _summarise(results: Sequence[Result], videos: int, seconds: float) -> None:
    fresh = [result for result in results if result.fresh]
    count, read = sum(len(result.prepared) for result in fresh), sum(result.before for result in fresh) / 1e6
    done = sum(len(result.prepared) for result in results)
    before, after = (sum(getattr(result, key) for result in results) / 1e6 for key in ("before", "after"))
    found = f", {done - count} of them found done" if done > count else ""
    print(
        f"vid: {done} of {videos} videos{found}; {count} in {seconds:.1f} s: {count / seconds:.2f} videos/s, "
        f"{read / seconds:.2f} MB/s; {before:.1f} MB before, {after:.1f} MB after",
        file=sys.stderr,
    )
