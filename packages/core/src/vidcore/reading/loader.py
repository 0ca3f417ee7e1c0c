"""Data loader whose worker processes never fail silently."""

from __future__ import annotations

import copy
import functools
import multiprocessing
from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue
from typing import Any

from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader

from vidcore.reading.workers import explained


class Loader(DataLoader[Any]):
    """Data loader that raises an error where torch's waits for ever for a batch that a worker process cannot pass on.

    Raises:
        UserError: While iterating: worker processes cannot be started, or cannot pass on a batch, as shared memory is
            full or too many files are open.
    """

    def __iter__(self) -> Any:
        try:
            if self.num_workers and self.multiprocessing_context is None:
                self.multiprocessing_context = _context(self.num_workers)
            return super().__iter__()
        except OSError as error:
            raise explained(str(error)) from error


class _Lost(ExceptionWrapper):
    """Sent in place of a batch; torch calls ``reraise`` in the main process."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def reraise(self) -> None:
        raise explained(self.reason)


class _Queue(Queue):  # type: ignore[type-arg]
    """Queue that sends the reason where an item cannot be sent. Items are pairs of batch number and batch."""

    def _on_queue_feeder_error(self, error: Exception, item: tuple[int, Any]) -> None:
        self.put((item[0], _Lost(f"{type(error).__name__}: {error}")))


def _context(workers: int) -> BaseContext:
    context = copy.copy(multiprocessing.get_context())
    context.Queue = functools.partial(_Queue, ctx=context)  # type: ignore[method-assign,assignment]
    # What torch is about to create. If that fails inside torch, a traceback is printed besides the error.
    _ = [context.Queue() for _ in range(workers + 3)]
    return context
