"""From samples to jobs: what is written for them, and under which names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from vidcore.errors import UserError
from vidcore.sample import Sample
from vidcore.tools import shards
from vidcore.tools.prepare.jobs import Job, Settings, Source
from vidcore.tools.prepare.samples import as_json
from vidcore.video.source import is_plain, is_url, size_of


def jobs_of(samples: Mapping[str, Sequence[Sample]], settings: Settings) -> list[Job]:
    """What there is to do for the samples of all splits; a video of several samples is done once.

    Raises:
        UserError: Two videos would get one name, or a shard is to hold what is no file.
    """
    of_path: dict[str, list[tuple[str, Sample]]] = {}
    for split, part in samples.items():
        for sample in part:
            of_path.setdefault(sample.path, []).append((split, sample))
    names = _names(list(of_path))
    if settings.form == "shards":
        return list(_shard_jobs(of_path, names, settings.shard_bytes))
    jobs: dict[str, Job] = {}
    for path, name in names.items():
        if settings.form == "video" and not name.lower().endswith(".mp4"):
            name += ".mp4"
        if name in jobs:
            raise UserError(f"{path} and {jobs[name].sources[0].path} would both become {name}")
        _, first = of_path[path][0]
        jobs[name] = Job(name, (Source(path, first.fps),))
    return list(jobs.values())


def _shard_jobs(
    of_path: Mapping[str, Sequence[tuple[str, Sample]]], names: Mapping[str, str], shard_bytes: int
) -> Iterator[Job]:
    sources, size, number = list[Source](), 0, 0
    for path, samples in of_path.items():
        if is_plain(path) and Path(path).is_dir():
            raise UserError(f"{path} is a folder of pictures, and shards hold files: prepare it --as video first")
        with suppress(OSError):  # which the job reports
            size += size_of(path)
        about = {"path": names[path], "samples": [as_json(split, sample) for split, sample in samples]}
        sources.append(Source(path, about=about))
        if size >= shard_bytes:
            yield Job(shards.shard_name(number), tuple(sources))
            sources, size, number = [], 0, number + 1
    if sources:
        yield Job(shards.shard_name(number), tuple(sources))


def _names(paths: Sequence[str]) -> dict[str, str]:
    """Names of the files below what all paths have in common, with ``/`` between their parts."""
    parts = {
        path: (path if is_url(path) else Path(path).as_posix()).replace("#bytes=", "-").split("/") for path in paths
    }
    # What the first and the last in order share, all in between share.
    first, last = min(parts.values(), default=[]), max(parts.values(), default=[])
    same = (one == other for one, other in zip(first[:-1], last[:-1], strict=False))
    common = sum(1 for _ in itertools.takewhile(bool, same))
    return {path: "/".join(part[common:]) for path, part in parts.items()}
