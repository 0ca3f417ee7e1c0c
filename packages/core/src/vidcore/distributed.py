"""What processes of one run exchange."""

from __future__ import annotations

import atexit
import functools
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather

T = TypeVar("T")


def gathered(value: T) -> list[T]:
    """Every process's ``value``, in the order of their ranks; all of them have to call this together."""
    if not _together():
        return [value]
    _leave_at_exit()
    values: list[T] = [value] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def gathered_rows(rows: Tensor) -> tuple[Tensor, int]:
    """Every process's ``rows`` (N, …), in the order of their ranks, with gradients; and where this process's begin.

    All processes have to call this together, each with equally many rows.
    """
    if not _together():
        return rows, 0
    return torch.cat(all_gather(rows)), distributed.get_rank() * len(rows)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@functools.cache
def _leave_at_exit() -> None:
    """Before Python tears down: gloo's threads now and then abort a process that ends as a member of its group."""
    atexit.register(lambda: distributed.destroy_process_group() if _together() else None)
