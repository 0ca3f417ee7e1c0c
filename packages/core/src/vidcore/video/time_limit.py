"""Time limit for reading a file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, TypeVar

from vidcore.video.decoder import VideoError

T = TypeVar("T")


class TooSlowError(VideoError):
    """Reading a file exceeded the time limit."""

    def __init__(self, path: str | os.PathLike[str], seconds: float) -> None:
        super().__init__(path, f"took longer than {seconds:g} s to read")


def remaining() -> float | None:
    """Return the seconds left for the read in this thread; None without limit."""
    deadline = getattr(_job, "deadline", None)
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def check_time(path: str | os.PathLike[str]) -> None:
    """Stop the read in this thread if its time is up.

    Decoders call this between packets and images, so that an abandoned read ends.

    Raises:
        TooSlowError: The time is up.
    """
    deadline = getattr(_job, "deadline", None)
    if deadline is not None and time.monotonic() > deadline:
        raise TooSlowError(path, _job.seconds)


def within(seconds: float, path: str | os.PathLike[str], read: Callable[[], T]) -> T:
    """Run ``read`` with a time limit and return its result.

    ``read`` runs in another thread, since a decoder that hangs inside FFmpeg cannot be interrupted. A thread that
    exceeds the limit is abandoned; it must not use shared state such as torch's random generator. It ends, and closes
    its file, at the next ``check_time``.

    Args:
        seconds: Limit in seconds.
        path: File, for the error message.
        read: Function that reads it.

    Raises:
        TooSlowError: The time is up.
    """
    reader = getattr(_own, "reader", None)
    if reader is None or reader.process != os.getpid():  # threads do not survive a fork
        reader = _own.reader = _Reader()
    done: Future[T] = Future()
    deadline = time.monotonic() + seconds
    reader.jobs.put((done, read, deadline, seconds))
    if not wait([done], seconds).done:
        _own.reader = None
        raise TooSlowError(path, seconds)
    if done.exception() is not None and time.monotonic() > deadline:  # FFmpeg reports only an interruption
        raise TooSlowError(path, seconds)
    return done.result()


class _Reader:
    """Thread that runs one job after another; a new thread per job would cost half a millisecond."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.jobs: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=_work, args=(self.jobs,), name="vidcore reader", daemon=True).start()

    def __del__(self) -> None:
        self.jobs.put(None)


def _work(jobs: SimpleQueue[Any]) -> None:
    while (job := jobs.get()) is not None:
        done, read, _job.deadline, _job.seconds = job
        try:
            done.set_result(read())
        except BaseException as error:
            done.set_exception(error)
        del job, done, read  # free memory while waiting for the next job


_own = threading.local()  # reader of each thread
_job = threading.local()  # time limit of the current job of each reader
