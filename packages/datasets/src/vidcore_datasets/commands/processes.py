"""Options for the number of processes and the time limit per file."""

from __future__ import annotations

import argparse
import os

from vidcore.cli.parsing import number_in, whole_in


def add_process_options(parser: argparse.ArgumentParser, seconds: int, what: str) -> None:
    """Add ``--num_workers`` and ``--timeout``.

    Args:
        parser: Parser of the command.
        seconds: Default of ``--timeout``.
        what: Help text of ``--timeout``.
    """
    parser.add_argument(
        "--num_workers", type=whole_in("[1, 1024]"), metavar="N", help="number of processes; default: all processors"
    )
    parser.add_argument(
        "--timeout", type=number_in("(0, 1000000]"), default=seconds, metavar="S", help=f"{what} ({seconds})"
    )


def processes(arguments: argparse.Namespace) -> int:
    """Return the number of processes; default: one per available processor."""
    if arguments.num_workers is not None:
        return int(arguments.num_workers)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
