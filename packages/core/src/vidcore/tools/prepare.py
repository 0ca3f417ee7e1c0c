"""A data set's videos made fit for training: re-encoded, as pictures, or in shards.

What is written depends on the videos and the settings alone, and appears under its name when it is complete and has
been read back. So a run that was killed, or that ran out of space, is completed by running it again: what is there is
only looked at. Nothing of a run counts before ``samples.jsonl``, the last to be written, is there.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from vidcore.dataset import Sample
from vidcore.errors import UserError
from vidcore.task import Task
from vidcore.tools import shards
from vidcore.tools.isolated import IsolatedError, run_isolated
from vidcore.tools.reencode import reencode, small_size, write_pictures
from vidcore.video.decoder import VideoError, open_video
from vidcore.video.source import filesystem, is_plain, is_url, joined, read_bytes, size_of, stretch

Form = Literal["video", "frames", "shards"]
SAMPLES = "samples.jsonl"
VERSION = 1
"""Of its format."""
SETTINGS = "prepared.json"
UNREADABLE = "unreadable.csv"
_BYTES_A_SECOND = 1e5  # of a video, that any processor encodes
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_PART = ".part"


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
    """One thing to write below the target, and what from."""

    name: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Prepared:
    """A video that is done.

    Args:
        source: Its path before.
        path: Its path now, below the target.
        fps: Of its frames, in Hz.
        scale: Pixels now per pixel before, horizontally and vertically.
    """

    source: str
    path: str
    fps: float
    scale: tuple[float, float] = (1.0, 1.0)


@dataclass
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
    prepared: list[Prepared] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    fresh: bool = True
    before: int = 0
    after: int = 0


def jobs_of(samples: Mapping[str, Sequence[Sample]], settings: Settings) -> list[Job]:
    """What there is to do for the samples of all splits; a video of several samples is done once.

    Raises:
        UserError: Two videos would get one name, or a shard is to hold what is no file.
    """
    of_path: dict[str, list[tuple[str, Sample]]] = {}
    for split, part in samples.items():
        for sample in part:
            of_path.setdefault(sample.path, []).append((split, sample))
    if settings.form == "shards":
        return list(_shard_jobs(of_path, settings.shard_bytes))
    jobs: dict[str, Job] = {}
    for path, name in _names(list(of_path)).items():
        if settings.form == "video" and not name.lower().endswith(".mp4"):
            name += ".mp4"
        if name in jobs:
            raise UserError(f"{path} and {jobs[name].sources[0].path} would both become {name}")
        jobs[name] = Job(name, (Source(path, of_path[path][0][1].fps),))
    return list(jobs.values())


def _shard_jobs(of_path: Mapping[str, Sequence[tuple[str, Sample]]], shard_bytes: int) -> Iterator[Job]:
    sources: list[Source] = []
    names, size, number = _names(list(of_path)), 0, 0
    for path, samples in of_path.items():
        if is_plain(path) and Path(path).is_dir():
            raise UserError(f"{path} is a folder of pictures, and shards hold files: prepare it --as video first")
        with suppress(OSError):  # which the job reports
            size += size_of(path)
        about = {"path": names[path], "samples": [_as_json(split, sample, (1.0, 1.0)) for split, sample in samples]}
        sources.append(Source(path, None, about))
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


@contextmanager
def claimed(settings: Settings, jobs: Sequence[Job]) -> Iterator[None]:
    """Makes the target, and keeps other runs off it; the system ends that with the process, however it ends.

    At a URL, where nothing can be locked, two runs write the same, each file at once.

    Raises:
        UserError: Another run is at it, or the target holds something else.
    """
    described = {key: value for key, value in asdict(settings).items() if key != "target"}
    if settings.form == "shards":
        sources = [(job.name, [dict(source.about) for source in job.sources]) for job in jobs]
        described["sources"] = hashlib.sha256(json.dumps(sources).encode()).hexdigest()
    if is_url(settings.target):
        _describe(settings.target, described)
        yield
        return
    from filelock import FileLock, Timeout

    target = Path(settings.target)
    target.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another vid data prepare is writing {target}") from None
    try:
        if not (target / SETTINGS).is_file() and any(file.name != ".lock" for file in target.iterdir()):
            raise UserError(f"{target} holds something else already; name a new folder")
        _describe(settings.target, described)
        for left in list(target.rglob(f".*{_PART}")):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            Path(lock.lock_file).unlink()
        lock.release()


def _describe(target: str, described: Mapping[str, Any]) -> None:
    """Notes what is written here, or checks that it is the same as before."""
    try:
        known = json.loads(read_bytes(joined(target, SETTINGS)))
    except FileNotFoundError:
        write_text(target, SETTINGS, json.dumps(described))
        return
    except ValueError:
        known = None
    different = [key for key in described if not isinstance(known, dict) or known.get(key) != described[key]]
    if different:
        what = "other videos" if different == ["sources"] else f"another {' and '.join(different)}"
        raise UserError(f"{target} was prepared with {what}; name a new folder, or remove it")


def run(jobs: Sequence[Job], settings: Settings, workers: int, timeout: float) -> Generator[Result, None, None]:
    """Does the jobs in ``workers`` processes and yields each result as soon as it is there.

    A video that crashes or hangs its process is unreadable; in a shard, the shard is then tried again without it.

    Args:
        jobs: From :func:`jobs_of`.
        settings: The same.
        workers: How many processes.
        timeout: Seconds that a video may take, besides ten for each megabyte.

    Raises:
        UserError: The target cannot be written to.
    """
    left: Sequence[Job] = jobs
    condemned: dict[str, dict[str, str]] = {}
    while left:
        again: list[Job] = []
        limit = functools.partial(_limit, timeout)
        with closing(run_isolated(functools.partial(do, settings), left, workers, limit)) as results:
            for job, result in results:
                if isinstance(result, IsolatedError):
                    if len(job.sources) > 1:  # which of them it was, one at a time tells
                        again.append(job)
                        continue
                    result = Result(job, unreadable={job.sources[0].path: str(result)})
                if result.failure:
                    raise UserError(result.failure)
                result.unreadable |= condemned.pop(job.name, {})
                yield result
        left = [_without_crashing(job, workers, limit, condemned) for job in again]


def _without_crashing(job: Job, workers: int, limit: Any, condemned: dict[str, dict[str, str]]) -> Job:
    """The job without those of its sources that crash or hang who opens them."""
    bad: dict[str, str] = {}
    single = [Job(source.path, (source,)) for source in job.sources]
    with closing(run_isolated(probe, single, workers, limit)) as results:
        bad = {each.name: str(result) for each, result in results if isinstance(result, IsolatedError)}
    if not bad:
        raise UserError(
            f"{job.name} cannot be made: {len(job.sources)} videos took too long; allow more with --timeout"
        )
    condemned[job.name] = {**condemned.get(job.name, {}), **bad}
    return replace(job, sources=tuple(source for source in job.sources if source.path not in bad))


def probe(job: Job) -> None:
    """Opens a video, which may end the process."""
    with suppress(VideoError, OSError):
        _count(job.sources[0].path)


def _limit(timeout: float, job: Job) -> float:
    seconds = 0.0
    for source in job.sources:
        with suppress(OSError):  # which the job reports
            seconds += size_of(source.path) / _BYTES_A_SECOND
    return timeout + seconds


def do(settings: Settings, job: Job) -> Result:
    """Does one job, or finds it done."""
    result = Result(job)
    try:
        (_shard if settings.form == "shards" else _video)(settings, job, result)
    except _TargetError as error:
        result.failure = str(error)
    except (UserError, OSError, av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            result.failure = str(_TargetError(settings.target, error))
        elif settings.form == "shards":
            result.failure = f"{joined(settings.target, job.name)}: {error}"
        else:
            result.unreadable = {job.sources[0].path: str(error)}
    return result


class _TargetError(UserError):
    """The target cannot be written to."""

    def __init__(self, target: str, error: OSError) -> None:
        super().__init__(
            f"{target}: {error.strerror or error}. What is done is kept: make it possible to write there, "
            "and the same command goes on"
        )


@contextmanager
def _writing(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _TargetError(target, error) from error


def _video(settings: Settings, job: Job, result: Result) -> None:
    """One re-encoded video, or one folder of its frames."""
    (source,) = job.sources
    place = Path(settings.target) / job.name
    with open_video(source.path, fps=source.fps) as video:
        height, width = video.size
        if _frames_in(place) != video.num_frames:
            with _writing(settings.target):
                place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f".{place.name}.{os.getpid()}{_PART}")
            try:
                if settings.form == "video":
                    written = part / "video.mp4"
                    part.mkdir(exist_ok=True)
                    count = reencode(video, source.path, written, settings.short_side, settings.gop)
                else:
                    written = part
                    part.mkdir(exist_ok=True)
                    count = write_pictures(video, part, settings.short_side)
                there = _frames_in(written)
                if not count == there == video.num_frames:
                    raise VideoError(source.path, f"has {video.num_frames} frames, of which {there} came through")
                with _writing(settings.target):
                    _sync(written)
                    _move(written, place, count)
            finally:
                _remove(part)
        else:
            result.fresh = False
        small = small_size(height, width, settings.short_side)
        scale = small[1] / width, small[0] / height
        result.prepared = [Prepared(source.path, job.name, video.fps, scale)]
    result.before, result.after = size_of(source.path), size_of(str(place))


def _frames_in(path: Path) -> int:
    """How many frames there are; 0 where nothing can be read."""
    with suppress(VideoError), open_video(path) as video:
        return video.num_frames
    return 0


def _move(written: Path, place: Path, count: int) -> None:
    try:
        if place.is_dir():
            shutil.rmtree(place)
        written.replace(place)
    except OSError:  # a folder cannot take the place of one that a process of a killed run has just finished
        if _frames_in(place) != count:
            raise


def _sync(path: Path) -> None:
    """What is written survives a power cut."""
    for file in path.iterdir() if path.is_dir() else [path]:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _shard(settings: Settings, job: Job, result: Result) -> None:
    """One shard of those of its videos that can be read."""
    content, items = b"", list[shards.Item]()
    with suppress(FileNotFoundError, ValueError):  # ValueError: it was cut off
        content = read_bytes(joined(settings.target, job.name))
        items = list(shards.items_of(content))
    there = {item.about["path"]: item.about for item in items}
    missing = [source for source in job.sources if there.get(source.about["path"]) != source.about]
    more = _readable(missing, result)
    result.fresh = bool(more)
    if more:
        if len(missing) < len(job.sources):
            more = _readable(job.sources, result)
        content = _write_shard(settings.target, job.name, more)
        items = list(shards.items_of(content))
    paths = {source.about["path"]: source.path for source in job.sources}
    for item in items:
        path = stretch(job.name, item.start, item.end)
        result.prepared.append(Prepared(paths[item.about["path"]], path, 0.0))
        result.before += item.end - item.start
    result.after = len(content) if items else 0


def _readable(sources: Sequence[Source], result: Result) -> list[tuple[Source, bytes, int]]:
    """The videos with their bytes and the number of their frames; of the others, the result notes why not."""
    readable = []
    for source in sources:
        try:
            if size_of(source.path) > shards.LARGEST:
                raise VideoError(source.path, "is too large for a shard, of 4 GiB at most")
            readable.append((source, read_bytes(source.path), _count(source.path)))
        except UserError as error:
            result.unreadable[source.path] = str(error)
        except OSError as error:
            result.unreadable[source.path] = f"{source.path}: {error.strerror or error}"
    return readable


def _write_shard(target: str, name: str, contents: Sequence[tuple[Source, bytes, int]]) -> bytes:
    """Writes a shard, and puts it in its place once every video in it has been opened; returns its bytes."""
    number = int(Path(name).stem.rpartition("-")[2])
    with _writing(target), _folder_beside(target, name) as folder:
        part = shards.write_shard(folder, number, [(dict(source.about), video) for source, video, _ in contents])
        _sync(part)
        there = part.read_bytes()
        for item, (source, video, count) in zip(shards.items_of(there), contents, strict=True):
            if there[item.start : item.end] != video or _count(stretch(str(part), item.start, item.end)) != count:
                raise OSError(f"{name}: {source.path} came through damaged")
        if is_url(target):
            fs, place = filesystem(joined(target, name))
            fs.put_file(str(part), place)
            if fs.size(place) != len(there):
                raise OSError(f"{name} has {fs.size(place)} bytes there, not {len(there)}")
        else:
            part.replace(joined(target, name))
    return there


@contextmanager
def _folder_beside(target: str, name: str) -> Iterator[Path]:
    """A folder for what is not complete; where the target is a URL, in the system's temporary one."""
    with tempfile.TemporaryDirectory(_PART, f".{name}.", None if is_url(target) else target) as folder:
        yield Path(folder)


def _count(path: str) -> int:
    """Frames of a video, of which the first one is decoded.

    Raises:
        VideoError: It cannot be read.
    """
    with open_video(path) as video:
        video.frames([0])
        return video.num_frames


def write_samples(
    samples: Mapping[str, Sequence[Sample]], task: Task, settings: Settings, results: Iterable[Result]
) -> int:
    """Writes ``samples.jsonl``, which completes the target, and LitData's index of shards.

    Its first line has the task and the shards' bytes, every other one a sample, with its path below the target.

    Returns:
        How many samples were left out, since their videos cannot be read.

    Raises:
        UserError: The target cannot be written to.
    """
    prepared: dict[str, Prepared] = {}
    sizes: list[tuple[str, int, int]] = []
    for result in results:
        prepared |= {each.source: each for each in result.prepared}
        if settings.form == "shards" and result.prepared:
            sizes.append((result.job.name, result.after, len(result.prepared)))
    sizes.sort(key=lambda shard: int(Path(shard[0]).stem.rpartition("-")[2]))
    head = {"version": VERSION, "task": task.as_dict(), "shards": {name: size for name, size, _ in sizes}}
    lines, left_out = [json.dumps(head)], 0
    for split, part in samples.items():
        for sample in part:
            done = prepared.get(sample.path)
            if done is None:
                left_out += 1
                continue
            if settings.form == "frames":
                sample = replace(sample, fps=done.fps)
            lines.append(json.dumps({"path": done.path, **_as_json(split, sample, done.scale)}))
    if settings.form == "shards":
        write_text(settings.target, "index.json", shards.index_of(sizes))
    write_text(settings.target, SAMPLES, "\n".join([*lines, ""]))
    return left_out


def _as_json(split: str, sample: Sample, scale: tuple[float, float]) -> dict[str, Any]:
    """A sample in plain types, with boxes in pixels of the prepared frame; what is None is left out."""
    target = sample.target
    if isinstance(target, Mapping):
        boxes = np.asarray(target["boxes"], np.float64).reshape(-1, 4) * (*scale, *scale)
        target = {
            "boxes": boxes.tolist(),
            "labels": np.asarray(target["labels"]).tolist(),
            "frames": np.asarray(target["frames"]).tolist(),
        }
    elif target is not None:
        target = np.asarray(target).tolist()
    row = {"split": split, "id": sample.id, "target": target}
    row |= {"start": sample.start, "end": sample.end, "fps": sample.fps}
    return {key: value for key, value in row.items() if value is not None}


def write_text(target: str, name: str, content: str | bytes) -> None:
    """Writes a small file below the target; it is there when it is complete.

    Raises:
        UserError: It cannot be written.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogateescape")
    with _writing(target):
        if is_url(target):
            fs, place = filesystem(joined(target, name))
            fs.pipe_file(place, content)
            return
        part = Path(target) / f".{name}.{os.getpid()}{_PART}"
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(Path(target) / name)
        finally:
            part.unlink(missing_ok=True)
