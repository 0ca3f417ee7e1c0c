"""Run a function on many files, or other jobs, in processes that may hang or crash without affecting the others."""

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
    """The function returned no result; the message says why."""


def run_isolated(
    function: Callable[[J], T], paths: Iterable[J], workers: int, limit: Callable[[J], float]
) -> Generator[tuple[J, T | IsolatedError], None, None]:
    """Call ``function`` on each path in ``workers`` processes and yield each result when it is ready.

    A call that exceeds its time limit or ends its process loses only its own result: a new process continues. Closing
    the generator ends all processes.

    Args:
        function: Importable function; it should not raise.
        paths: Arguments of the calls: paths, or other picklable values.
        workers: Number of processes.
        limit: Function from a path to its time limit in seconds.
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
    """Process that calls the function on one path after another."""

    path: J
    seconds = 0.0
    deadline = 0.0

    def __init__(self, function: Callable[[J], T]) -> None:
        # Spawn: a fork would inherit the pipes of its siblings, and not notice when this process ends.
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
        """Return the result; if there is none, end the process."""
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
        """End the process; an idle worker exits by itself within ``grace`` seconds, so that it can clean up."""
        self.connection.close()
        self.process.join(grace)
        self.process.kill()
        self.process.join()


def _serve(connection: Connection, function: Callable[[Any], object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    with suppress(EOFError, OSError):
        while True:
            connection.send(function(connection.recv()))
