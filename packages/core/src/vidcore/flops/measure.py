"""Time and memory that a model takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def timed(device: torch.device) -> Iterator[list[float]]:
    """A list that holds, afterwards, the seconds that the block took, kernels on ``device`` included."""
    seconds: list[float] = []
    _synchronise(device)
    start = time.perf_counter()
    yield seconds
    _synchronise(device)
    seconds.append(time.perf_counter() - start)


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of the process so far: of the accelerator's allocator, or else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return float("nan")
    import resource

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (2**20 if sys.platform == "darwin" else 2**10)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
