"""Prepare a shard of unchanged videos."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vidcore.errors import UserError
from vidcore.video.decoder import VideoError, open_video
from vidcore.video.source import filesystem, is_url, joined, read_bytes, size_of, stretch
from vidcore.writing import part_beside
from vidcore_datasets.preparing import shards
from vidcore_datasets.preparing.jobs import Job, Prepared, Result, Settings, Source
from vidcore_datasets.preparing.target import sync, writing


@dataclass(frozen=True)
class _Video:
    """A source with its bytes and its number of frames."""

    source: Source
    content: bytes
    frames: int


def prepare_shard(settings: Settings, job: Job) -> Result:
    """Write a shard of the readable videos of a job, or find an existing one.

    Raises:
        OSError: An existing shard cannot be read.
        UserError: The target is not writable.
    """
    content, items = b"", list[shards.Item]()
    with suppress(FileNotFoundError, ValueError):  # ValueError: it was cut off
        content = read_bytes(joined(settings.target, job.name))
        items = list(shards.items_of(content))
    there = {item.about["path"]: item.about for item in items}
    missing = [source for source in job.sources if there.get(source.about["path"]) != source.about]
    videos, unreadable = _read(missing)
    fresh = bool(videos)
    if fresh:
        if len(missing) < len(job.sources):
            videos, unreadable = _read(job.sources)
        content = _write(settings.target, job.name, videos)
        items = list(shards.items_of(content))
    paths = {source.about["path"]: source.path for source in job.sources}
    return Result(
        job,
        tuple(
            Prepared(path, stretch(job.name, item.start, item.end, path))
            for item in items
            for path in [paths[item.about["path"]]]
        ),
        unreadable,
        fresh=fresh,
        before=sum(item.end - item.start for item in items),
        after=len(content) if items else 0,
    )


def count_frames(path: str) -> int:
    """Return the number of frames of a video, after decoding the first.

    Raises:
        VideoError: It cannot be read.
    """
    with open_video(path) as video:
        video.frames([0])
        return video.num_frames


def _read(sources: Sequence[Source]) -> tuple[list[_Video], dict[str, str]]:
    """Return the readable videos, and the reason for each unreadable one."""
    videos, unreadable = list[_Video](), dict[str, str]()
    for source in sources:
        try:
            if size_of(source.path) > shards.LARGEST:
                raise VideoError(source.path, "is too large for a shard, of 4 GiB at most")
            videos.append(_Video(source, read_bytes(source.path), count_frames(source.path)))
        except UserError as error:
            unreadable[source.path] = str(error)
        except OSError as error:
            unreadable[source.path] = f"{source.path}: {error.strerror or error}"
    return videos, unreadable


def _write(target: str, name: str, videos: Sequence[_Video]) -> bytes:
    """Write a shard and move it to its place once every video in it has been opened; return its size in bytes."""
    folder = tempfile.gettempdir() if is_url(target) else target
    with writing(target), part_beside(Path(folder, name)) as part:
        shards.write_shard(part.parent, name, [(video.source.about, video.content) for video in videos])
        sync(part)
        there = part.read_bytes()
        for item, video in zip(shards.items_of(there), videos, strict=True):
            same = there[item.start : item.end] == video.content
            path = stretch(str(part), item.start, item.end, video.source.path)
            if not same or count_frames(path) != video.frames:
                raise OSError(f"{name}: {video.source.path} came through damaged")
        if is_url(target):
            fs, place = filesystem(joined(target, name))
            fs.put_file(str(part), place)
            if fs.size(place) != len(there):
                raise OSError(f"{name} has {fs.size(place)} bytes there, not {len(there)}")
        else:
            part.replace(joined(target, name))
    return there
