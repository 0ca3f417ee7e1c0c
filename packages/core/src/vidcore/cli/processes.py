"""How many processes a command reads files in, and how long each file may take."""

from __future__ import annotations

import argparse
import os

from vidcore.cli import UsageError


def add_process_options(parser: argparse.ArgumentParser, seconds: int, what: str) -> None:
    """Adds ``--num_workers`` and ``--timeout``.

    Args:
        parser: The command's.
        seconds: The default of ``--timeout``.
        what: What its seconds are.
    """
    parser.add_argument("--num_workers", type=int, metavar="N", help="files to read at once; default: all processors")
    parser.add_argument("--timeout", type=float, default=seconds, metavar="S", help=f"{what} ({seconds})")


def processes(arguments: argparse.Namespace) -> int:
    """The number of processes; by default one for each processor that this process may use.

    Raises:
        UsageError: It, or the time that a file may take, is not positive.
    """
    workers = arguments.num_workers
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise UsageError(f"--num_workers must be at least 1, not {workers}")
    if not arguments.timeout > 0:
        raise UsageError(f"--timeout must be positive, not {arguments.timeout:g}")
    return workers
