"""How many processes a command reads files in, and how long each file may take."""

from __future__ import annotations

import argparse
import os

from vidcore.cli.parsing import number_in, whole_in


def add_process_options(parser: argparse.ArgumentParser, seconds: int, what: str) -> None:
    """Adds ``--num_workers`` and ``--timeout``.

    Args:
        parser: The command's.
        seconds: The default of ``--timeout``.
        what: What its seconds are.
    """
    parser.add_argument(
        "--num_workers", type=whole_in("[1, 1024]"), metavar="N", help="files to read at once; default: all processors"
    )
    parser.add_argument(
        "--timeout", type=number_in("(0, 1000000]"), default=seconds, metavar="S", help=f"{what} ({seconds})"
    )


def processes(arguments: argparse.Namespace) -> int:
    """The number of processes; by default one for each processor that this process may use."""
    if arguments.num_workers is not None:
        return int(arguments.num_workers)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
