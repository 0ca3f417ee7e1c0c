"""Run jobs in several processes that may crash or hang."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import replace

import av

from vidcore.errors import UserError
from vidcore.video.decoder import VideoError
from vidcore.video.source import joined, size_of
from vidcore_datasets.commands.isolated import IsolatedError, run_isolated
from vidcore_datasets.preparing.jobs import Job, Result, Settings
from vidcore_datasets.preparing.shard import count_frames, prepare_shard
from vidcore_datasets.preparing.target import TargetError
from vidcore_datasets.preparing.video import prepare_video

_BYTES_A_SECOND = 1e5  # of a video, that any processor encodes
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def run_jobs(jobs: Sequence[Job], settings: Settings, workers: int, timeout: float) -> Generator[Result, None, None]:
    """Run the jobs in ``workers`` processes and yield each result when it is ready.

    A video that crashes or hangs its process counts as unreadable; a shard is then tried again without it.

    Args:
        jobs: Result of ``jobs_of``.
        settings: Settings of these jobs.
        workers: Number of processes.
        timeout: Time limit per video in seconds, plus ten seconds per megabyte.

    Raises:
        UserError: The target is not writable.
    """
    limit = functools.partial(_limit, timeout)
    while jobs:
        again: list[Job] = []
        with closing(run_isolated(functools.partial(do, settings), jobs, workers, limit)) as results:
            for job, result in results:
                if isinstance(result, IsolatedError):
                    if len(job.sources) > 1:  # which of them it was, one at a time tells
                        again.append(job)
                        continue
                    result = Result(job, unreadable={job.sources[0].path: str(result)})
                if result.failure:
                    raise UserError(result.failure)
                yield replace(result, unreadable={**job.left_out, **result.unreadable})
        jobs = [_without_crashing(job, workers, limit) for job in again]


def _without_crashing(job: Job, workers: int, limit: Callable[[Job], float]) -> Job:
    """Return the job without sources that crash or hang the process that opens them."""
    single = [Job(source.path, (source,)) for source in job.sources]
    with closing(run_isolated(_probe, single, workers, limit)) as results:
        bad = {each.name: str(result) for each, result in results if isinstance(result, IsolatedError)}
    if not bad:
        raise UserError(
            f"{job.name} cannot be made: {len(job.sources)} videos took too long; allow more with --timeout"
        )
    kept = tuple(source for source in job.sources if source.path not in bad)
    return Job(job.name, kept, {**job.left_out, **bad})


def _probe(job: Job) -> None:
    """Open a video, which may crash the process."""
    with suppress(VideoError, OSError):
        count_frames(job.sources[0].path)


def _limit(timeout: float, job: Job) -> float:
    seconds = 0.0
    for source in job.sources:
        with suppress(OSError):  # which the job reports
            seconds += size_of(source.path) / _BYTES_A_SECOND
    return timeout + seconds


def do(settings: Settings, job: Job) -> Result:
    """Run a job, or find its existing output."""
    try:
        return (prepare_shard if settings.form == "shards" else prepare_video)(settings, job)
    except TargetError as error:
        return Result(job, failure=str(error))
    except (UserError, OSError, av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            return Result(job, failure=str(TargetError(settings.target, error)))
        if settings.form == "shards":
            return Result(job, failure=f"{joined(settings.target, job.name)}: {error}")
        return Result(job, unreadable={job.sources[0].path: str(error)})
