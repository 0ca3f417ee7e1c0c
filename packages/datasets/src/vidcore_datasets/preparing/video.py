"""Prepare one video: re-encode it, or write a folder of its frames."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

from vidcore.video.decoder import Decoder, VideoError, open_video
from vidcore.video.source import size_of
from vidcore.writing import part_beside
from vidcore_datasets.preparing.jobs import Job, Prepared, Result, Settings
from vidcore_datasets.preparing.reencode import reencode, small_size, write_pictures
from vidcore_datasets.preparing.target import place_in, remove, sync, writing


def prepare_video(settings: Settings, job: Job) -> Result:
    """Write the output, or find an existing one with as many frames as its source.

    Raises:
        VideoError: The source cannot be read, or the output does not have the frames of the source.
        OSError: The source cannot be read, or the target is not writable.
        UserError: The target is not writable.
    """
    (source,) = job.sources
    place = place_in(settings.target, job.name)
    with open_video(source.path, fps=source.fps) as video:
        fresh = _frames_in(place) != video.num_frames
        if fresh:
            _write(video, source.path, place, settings)
        height, width = video.size
        small_height, small_width = small_size(height, width, settings.short_side)
        done = Prepared(source.path, job.name, video.fps, (small_width / width, small_height / height))
    return Result(job, (done,), fresh=fresh, before=size_of(source.path), after=size_of(str(place)))


def _write(video: Decoder, source: str, place: Path, settings: Settings) -> None:
    """Write the output, and move it to its place once it has been read back."""
    with ExitStack() as stack:
        with writing(settings.target):
            place.parent.mkdir(parents=True, exist_ok=True)
            written = stack.enter_context(part_beside(place))
            if settings.form == "frames":
                written.mkdir()
        if settings.form == "video":
            count = reencode(video, source, written, settings.short_side, settings.gop)
        else:
            count = write_pictures(video, written, settings.short_side)
        there = _frames_in(written)
        if not count == there == video.num_frames:
            raise VideoError(source, f"has {video.num_frames} frames, of which {there} came through")
        with writing(settings.target):
            sync(written)
            _move(written, place, count)


def _frames_in(path: Path) -> int:
    """Return the number of frames; 0 if it cannot be read."""
    with suppress(VideoError), open_video(path) as video:
        return video.num_frames
    return 0


def _move(written: Path, place: Path, count: int) -> None:
    try:
        if place.is_dir():
            remove(place)
        written.replace(place)
    except OSError:  # a folder cannot take the place of one that a process of a killed run has just finished
        if _frames_in(place) != count:
            raise
