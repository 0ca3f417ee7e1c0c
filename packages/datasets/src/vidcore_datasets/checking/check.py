"""Decode every frame and all audio of a video file and collect FFmpeg's error log. Does not import torch."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
from av import Packet, VideoFrame
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vidcore.files import is_pictures, pictures, sha256
from vidcore.video.container import open_container
from vidcore.video.limits import LimitError
from vidcore.video.upright import upright_size
from vidcore_datasets.checking.structure import broken_structure
from vidcore_datasets.commands.isolated import IsolatedError, run_isolated

# Containers that say in their header how long they are; FFmpeg estimates the length of others.
_TELL_LENGTH = {"mov", "matroska", "avi", "flv"}
_SLACK = 0.5  # seconds by which healthy files end before their header says
_WITHOUT_ZEROS = {"h264", "hevc", "mpeg4", "vp8", "vp9", "libdav1d", "av1", "mjpeg", "webp"}
_ZEROS = 256  # bytes in a row that no encoder writes of those, though decoders may take them for a picture
_BYTES_A_SECOND = 1e6  # that any decoder reads


@dataclass
class FileReport:
    """Result of decoding a file: one row of the report. Unknown values are None, an unknown number of frames is 0."""

    path: str
    status: str = "ok"
    """``ok`` or ``error``."""
    reason: str = ""
    """Description of the error."""
    frames: int = 0
    """Number of decoded frames, up to the error if there is one."""
    fps: float | None = None
    width: int | None = None
    """Width in pixels as displayed; height likewise."""
    height: int | None = None
    duration: float | None = None
    """Duration in seconds according to the header."""
    audio: str = ""
    """Audio codec; empty without audio."""
    seconds: float | None = None
    """Decoding time in seconds."""
    sha256: str = ""
    """See ``digest``."""


def check_files(paths: Sequence[str], workers: int = 1, timeout: float = 60.0) -> Generator[FileReport, None, None]:
    """Check files with ``check_file`` in ``workers`` processes; yield each report when it is done.

    A file that crashes or hangs the decoder is reported as broken.

    Args:
        paths: Files to check.
        workers: Number of processes.
        timeout: Time limit per file in seconds, plus one second per megabyte.
    """
    limit = functools.partial(_limit, timeout)
    with closing(run_isolated(check_file, paths, workers, limit)) as reports:
        for path, report in reports:
            yield FileReport(path, "error", str(report)) if isinstance(report, IsolatedError) else report


def _limit(timeout: float, path: str) -> float:
    try:
        files = [Path(path, name) for name in pictures(path)] if Path(path).is_dir() else [Path(path)]
        return timeout + sum(file.stat().st_size for file in files) / _BYTES_A_SECOND
    except OSError:  # which check_file reports
        return timeout


def check_file(path: str) -> FileReport:
    """Decode the video (first stream that is not a cover image) and all audio of a file, or the images of a folder.

    A file is broken if FFmpeg reports an error (even one that it conceals in the frame), if it ends before the end
    stated in its header, if the elements of its container do not fit together, or if a frame contains a long run of
    zeros. Damage that decodes as valid data is detected only by a changed digest: uncompressed audio has no redundancy,
    VP9 little.
    """
    report, begin = FileReport(path), time.perf_counter()
    if Path(path).is_dir():
        _read_pictures(report)
    else:
        _read(report)
    report.status = "error" if report.reason else "ok"
    report.seconds = round(time.perf_counter() - begin, 3)
    report.sha256 = digest(path)
    return report


def digest(path: str) -> str:
    """Compute SHA-256 of a file's bytes; of a folder, of the output of ``sha256sum`` for its images sorted by name.

    The bytes and name of each image and their order (that of ``LC_ALL=C``) count. 64 hexadecimal digits; empty if
    something cannot be read.
    """
    try:
        if not Path(path).is_dir():
            return sha256(path)
        lines = [f"{sha256(Path(path, name))}  {name}\n" for name in pictures(path)]
    except OSError:
        return ""
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _read(report: FileReport) -> None:
    limited = ""
    with _complaints() as complaints:
        try:
            with open_container(report.path) as container:
                report.reason = _decode(container, report)
            if report.frames > 1 and is_pictures(report.path):
                report.reason = report.reason or f"is an animated picture of {report.frames} frames"
        except LimitError as error:
            limited = str(error)
        except (av.FFmpegError, OSError, ValueError) as error:
            report.reason = getattr(error, "strerror", None) or str(error)
    if limited:
        report.reason = limited
    elif complaints:  # they tell more than an error's name
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        report.reason = complaints[0] + more


def _read_pictures(report: FileReport) -> None:
    try:
        names = pictures(report.path)
    except OSError as error:
        report.reason = error.strerror or str(error)
        return
    broken: list[str] = []
    for name in names:
        picture = FileReport(str(Path(report.path, name)))
        _read(picture)
        report.width, report.height = report.width or picture.width, report.height or picture.height
        if not picture.reason and (picture.width, picture.height) != (report.width, report.height):
            picture.reason = (
                f"is {picture.width} × {picture.height} pixels, others are {report.width} × {report.height}"
            )
        if picture.reason:
            broken.append(f"{name}: {picture.reason}")
        else:
            report.frames += 1
    if not names:
        report.reason = "has no pictures"
    elif broken:
        report.reason = f"{len(broken)} of its {len(names)} pictures are broken, the first is {broken[0]}"


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect FFmpeg's error log within the block."""
    level, skip = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # or what the last file said too would not be said of this one
    found: list[str] = []
    try:
        with av.logging.Capture() as messages:
            yield found
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skip)
        found += [f"{source}: {text.strip()}" for severity, source, text in messages if severity <= av.logging.ERROR]


def _decode(container: InputContainer, report: FileReport) -> str:
    """Fill the report; return the error, or an empty string."""
    video = next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)
    if video is None:
        return "has no video stream"
    sound = [stream for stream in container.streams.audio if stream.codec_context]
    report.audio = sound[0].codec_context.name if sound else ""
    report.fps = round(float(video.average_rate or video.guessed_rate or 0), 3) or None
    report.duration = container.duration / av.time_base if container.duration else None
    start, end = (container.start_time or 0) / av.time_base, 0.0
    damaged: list[int] = []
    empty, zeros = 0, bytes(_ZEROS) if video.codec_context.name in _WITHOUT_ZEROS else None
    for stream in (video, *sound):
        stream.codec_context.thread_count = 1
    decode = _decoder(video)
    for packet in container.demux():
        if packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - start)
        if packet.stream is not video and packet.stream not in sound:
            continue
        if packet.stream is video and zeros and zeros in bytes(packet):
            empty += 1
        for frame in decode(packet) if packet.stream is video else packet.decode():
            if isinstance(frame, VideoFrame):
                if not report.frames:
                    report.height, report.width = upright_size(frame)
                report.frames += 1
                if frame.is_corrupt or packet.is_corrupt:
                    damaged.append(report.frames - 1)
    if not report.frames:
        return "has no frame that can be decoded"
    if damaged:
        return f"{len(damaged)} of its frames are damaged, the first is frame {damaged[0]}"
    formats = set(container.format.name.split(","))
    promised = report.duration or 0.0
    if "avi" in formats and report.fps:  # whose length FFmpeg takes from the size of a file that was cut
        promised = max(promised, video.frames / report.fps)
    if promised - end > _SLACK and formats & _TELL_LENGTH:
        return f"is truncated: its header says {promised:.2f} s, what is there ends at {end:.2f} s"
    if empty:
        return f"{empty} of its packets hold nothing but zeros for {_ZEROS} bytes or more"
    return broken_structure(report.path, container.format.name)


def _decoder(stream: VideoStream) -> Callable[[Packet], list[VideoFrame]]:
    """Return a function that decodes the packets of a stream as they come."""
    if stream.codec_context.name == "vp9" and "libvpx-vp9" in av.codecs_available:  # notices more than FFmpeg's own
        own = av.CodecContext.create("libvpx-vp9", "r")
        own.thread_count = 1
        return lambda packet: cast("list[VideoFrame]", own.decode(packet if packet.size else None))
    return lambda packet: cast("list[VideoFrame]", packet.decode())
