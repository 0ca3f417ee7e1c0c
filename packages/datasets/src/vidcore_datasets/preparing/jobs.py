"""Jobs and their results, passed between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Form = Literal["video", "frames", "shards"]


@dataclass(frozen=True)
class Settings:
    """Output format and target.

    Args:
        form: ``video``: mp4 files with dense key frames; ``frames``: one folder of JPEG files per video; ``shards``:
            the original files, many per shard.
        target: Output folder; for shards also a URL that fsspec can write to.
        short_side: Maximum short side in pixels; not for shards.
        gop: Key frame interval in frames, for ``video``.
        shard_bytes: Approximate size of a shard in bytes.
    """

    form: Form
    target: str
    short_side: int = 256
    gop: int = 8
    shard_bytes: int = 64_000_000


@dataclass(frozen=True)
class Source:
    """A source video: its path, its frame rate if it is a folder, and its metadata for a shard."""

    path: str
    fps: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One output below the target.

    Args:
        name: Name of the output, with ``/`` as separator.
        sources: One video; several for a shard.
        left_out: Reason for each source that was excluded because it crashes or hangs the process.
    """

    name: str
    sources: tuple[Source, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A prepared video.

    Args:
        source: Path of the source.
        path: New path, below the target.
        fps: Frame rate in Hz; not set for shards.
        scale: New pixels per source pixel, horizontally and vertically.
    """

    source: str
    path: str
    fps: float | None = None
    scale: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Result:
    """Result of a job.

    Args:
        job: The job.
        prepared: Prepared videos.
        unreadable: Sources that could not be read, with the reason.
        failure: Reason why nothing could be written; the run stops.
        fresh: Whether the output was written now instead of found.
        before: Bytes of the prepared sources.
        after: Bytes of the output.
    """

    job: Job
    prepared: tuple[Prepared, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    fresh: bool = True
    before: int = 0
    after: int = 0
