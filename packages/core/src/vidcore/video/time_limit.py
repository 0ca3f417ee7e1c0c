"""A bound on the time that reading a file may take."""

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
    """A file took longer to read than it may."""

    def __init__(self, path: str | os.PathLike[str], seconds: float) -> None:
        super().__init__(path, f"took longer than {seconds:g} s to read")


def remaining() -> float | None:
    """Seconds until the limit of the read that runs in this thread; None if there is no limit."""
    deadline = getattr(_job, "deadline", None)
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def check_time(path: str | os.PathLike[str]) -> None:
    """End the read that runs in this thread if its time is up.

    Decoders call it between packets and pictures, so that a read that nobody waits for any more stops.

    Raises:
        TooSlowError: The time is up.
    """
    deadline = getattr(_job, "deadline", None)
    if deadline is not None and time.monotonic() > deadline:
        raise TooSlowError(path, _job.seconds)


def within(seconds: float, path: str | os.PathLike[str], read: Callable[[], T]) -> T:
    """What ``read`` returns or raises, or an error if that takes too long.

    It runs in another thread, since nothing else can leave a decoder that hangs inside FFmpeg. A thread that takes too
    long is left behind; it must not touch what others use, such as torch's random generator. Its work ends, and its
    file is closed, at the next :func:`check_time`.

    Args:
        seconds: The limit.
        path: The file, for the error.
        read: Reads it.

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
    if done.exception() is not None and time.monotonic() > deadline:  # FFmpeg says only that it was interrupted
        raise TooSlowError(path, seconds)
    return done.result()


class _Reader:
    """A thread that does one job after the other: a new one for each would cost half a millisecond, mostly torch's."""

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
        del job, done, read  # the next job may be long in coming


_own = threading.local()  # each thread has a reader of its own
_job = threading.local()  # the limit of what a reader reads now
