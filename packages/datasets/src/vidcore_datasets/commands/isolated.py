"""A function over many files, or other jobs, in processes that may hang or crash without harm to the others."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

J = TypeVar("J")
T = TypeVar("T")


class IsolatedError(Exception):
    """The function gave no result; the text says why."""


def run_isolated(
    function: Callable[[J], T], paths: Iterable[J], workers: int, limit: Callable[[J], float]
) -> Generator[tuple[J, T | IsolatedError], None, None]:
    """Calls ``function`` on each path in ``workers`` processes and yields each result as soon as it is there.

    A call that takes too long or ends its process costs its own result only: a new process does what is left. Closing
    the generator ends all of them.

    Args:
        function: Importable by name; it should not raise.
        paths: What to call it on; what is no path must be picklable.
        workers: How many processes.
        limit: Seconds that a path may take.
    """
    waiting, idle = deque(paths), list[_Worker[J, T]]()
    busy: dict[Connection, _Worker[J, T]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                worker = idle.pop() if idle else _Worker(function)
                if not worker.process.is_alive():  # killed while it was idle
                    worker.end()
                    worker = _Worker(function)
                path = waiting.popleft()
                worker.begin(path, limit(path))
                busy[worker.connection] = worker
            soonest = min(worker.deadline for worker in busy.values())
            ready = wait(list(busy), max(0.0, soonest - time.monotonic()))
            for worker in list(busy.values()):
                if worker.connection in ready or time.monotonic() >= worker.deadline:
                    del busy[worker.connection]
                    result = worker.result(worker.connection in ready)
                    if worker.process.is_alive():
                        idle.append(worker)
                    yield worker.path, result
    finally:
        for worker in busy.values():
            worker.end()
        for worker in idle:
            worker.end(grace=5)


class _Worker(Generic[J, T]):
    """A process that calls the function on one path after the other."""

    path: J
    seconds = 0.0
    deadline = 0.0

    def __init__(self, function: Callable[[J], T]) -> None:
        # Spawned: a fork would share the pipes of its siblings, and never see that this process has gone.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()

    def begin(self, path: J, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self.deadline = time.monotonic() + seconds
        self.connection.send(path)

    def result(self, ready: bool) -> T | IsolatedError:
        """What came back; where nothing did, the process is over."""
        if not ready:
            self.end()
            return IsolatedError(f"took longer than {self.seconds:.0f} s")
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            if name == "SIGKILL":
                return IsolatedError(
                    "the process that read it was killed (SIGKILL), as the system does when memory runs out: "
                    "try again with fewer processes (--num_workers 1)"
                )
            return IsolatedError(f"crashed the process that read it ({name})")

    def end(self, grace: float = 0) -> None:
        """Ends the process, that of an idle worker by itself: what is killed cannot clean up."""
        self.connection.close()
        self.process.join(grace)
        self.process.kill()
        self.process.join()


def _serve(connection: Connection, function: Callable[[Any], object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    with suppress(EOFError, OSError):
        while True:
            connection.send(function(connection.recv()))
