"""What there is to do, and what came of it; both are sent from process to process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Form = Literal["video", "frames", "shards"]


@dataclass(frozen=True)
class Settings:
    """What is to be written, and where.

    Args:
        form: ``video``: mp4 files with dense key frames; ``frames``: a folder of JPEG for each; ``shards``: the files
            as they are, many in one.
        target: A folder; for shards also a URL that fsspec writes to.
        short_side: Pixels to which the short side is reduced; not for shards.
        gop: Frames from a key frame to the next, for ``video``.
        shard_bytes: How large a shard is to be, about.
    """

    form: Form
    target: str
    short_side: int = 256
    gop: int = 8
    shard_bytes: int = 64_000_000


@dataclass(frozen=True)
class Source:
    """A video: its path, the rate of its frames where it is a folder, and what a shard is to say of it."""

    path: str
    fps: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One thing to write below the target: its name, and what from.

    Args:
        name: With ``/`` between its parts.
        sources: One video; for a shard, several.
        left_out: Why other sources were left out: they end the process that opens them.
    """

    name: str
    sources: tuple[Source, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A video that is done.

    Args:
        source: Its path before.
        path: Its path now, below the target.
        fps: Of its frames, in Hz; not told by shards.
        scale: Pixels now per pixel before, horizontally and vertically.
    """

    source: str
    path: str
    fps: float | None = None
    scale: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Args:
        job: Which.
        prepared: What is done.
        unreadable: Which sources could not be read, and why.
        failure: Why nothing could be written; the run cannot go on.
        fresh: Whether it was written now, rather than found.
        before: Bytes of the sources that are done.
        after: Bytes of what was made of them.
    """

    job: Job
    prepared: tuple[Prepared, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    fresh: bool = True
    before: int = 0
    after: int = 0
