"""Pictures as they come: of a file in order, of a camera or a URL the newest."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, cast

import av
import torch
from av.container import InputContainer
from torch import Tensor
from torchvision.tv_tensors import Video

from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.redaction import redacted
from vidcore.video.container import open_container, open_url
from vidcore.video.decoder import VideoError, open_video
from vidcore.video.transforms import eval_transform
from vidcore.video.upright import Upright

_JUMP = 10.0  # seconds between two frames that are no gap but a jump of the time stamps
LONGEST_PAUSE = 10.0
"""Seconds between two attempts to connect, at most."""


class Picture(NamedTuple):
    """One that the model is to see."""

    time: float
    """In seconds from the beginning."""
    frame: Tensor
    """(3, H, W) uint8, cut as in evaluation."""
    first: bool
    """Whether nothing before it belongs to the same video: the beginning, or a new connection."""
    dropped: int
    """How many were dropped so far, as the model was not fast enough."""


def pictures(source: str, spec: ClipSpec, timeout: float, reconnect: int) -> Iterator[Picture]:
    """Those of a file, none left out; or of a camera or URL, the newest each time.

    Args:
        source: A file, the number of a camera, or a URL that FFmpeg opens.
        spec: At which rate pictures are taken, and how they are cut.
        timeout: Seconds without a picture after which a connection is given up.
        reconnect: How often in a row a URL is connected again.

    Raises:
        VideoError: The source cannot be opened, or is lost.
    """
    if "://" in source:
        return newest(connections(source, lambda: _decode(source, spec, None, timeout), reconnect))
    if source.isdigit():
        name, kind = _camera(source)
        return newest(connections(source, lambda: _decode(name, spec, kind, timeout), 0))
    return _of_file(source, spec)


def _camera(number: str) -> tuple[str, str]:
    """What FFmpeg calls a camera, and how it reads it."""
    kinds = {"linux": (f"/dev/video{number}", "v4l2"), "darwin": (number, "avfoundation")}
    if sys.platform not in kinds:
        raise UserError(f"cameras are read on Linux and macOS, not on {sys.platform}: name a file or a URL")
    name, kind = kinds[sys.platform]
    if sys.platform == "linux" and not Path(name).exists():
        raise VideoError(f"camera {number}", f"there is no {name}")
    return name, kind


def _of_file(path: str, spec: ClipSpec) -> Iterator[Picture]:
    with open_video(path) as decoder:
        times = decoder.times.tolist()
        taken = _Rate(spec)
        for index, seconds in enumerate(times):
            if taken(seconds - times[0]):
                yield Picture(seconds - times[0], cut(decoder.frames([index])[0], spec), index == 0, 0)


def cut(frame: Tensor, spec: ClipSpec) -> Tensor:
    """A frame (3, H, W) as evaluation cuts it."""
    cut: Tensor = eval_transform(spec)(Video(frame[None]))
    return cut.as_subclass(Tensor)[0]


class _Rate:
    """Says which frames the model sees: every so many, or one each so many seconds."""

    def __init__(self, spec: ClipSpec) -> None:
        self.spec, self.seen, self.due, self.last = spec, 0, 0.0, 0.0

    def __call__(self, seconds: float) -> bool:
        self.seen += 1
        if self.spec.fps is None:
            return (self.seen - 1) % self.spec.stride == 0
        if seconds < self.last:  # a sender that began again
            self.due = seconds
        self.last = seconds
        if seconds < self.due - 1e-6:
            return False
        self.due = max(self.due + 1 / self.spec.fps, seconds)
        return True


class _Playing:
    """Seconds of playback from time stamps that may begin again or jump, as where recordings were joined."""

    def __init__(self) -> None:
        self.last, self.shift, self.step = -math.inf, 0.0, 0.0

    def __call__(self, stamp: float) -> float:
        seconds = stamp + self.shift
        if not 0 <= seconds - self.last <= _JUMP:  # the first, too
            seconds = max(0.0, self.last + self.step)
            self.shift = seconds - stamp
        elif seconds > self.last:
            self.step = seconds - self.last
        self.last = seconds
        return seconds


def _decode(name: str, spec: ClipSpec, kind: str | None, timeout: float) -> Iterator[Tensor]:
    """Frames (3, H, W) of one connection; a recording comes at its own rate, and ends where it ends.

    Raises:
        VideoError: It cannot be opened, has no pictures, stalls, or breaks off.
    """
    taken, shown = _Rate(spec), redacted(name)
    upright, playing = Upright("rgb24"), _Playing()
    begun = time.monotonic()
    try:
        with _opened(name, kind, timeout) as container:
            if not container.streams.video:
                raise VideoError(shown, "it has no video stream")
            stream = container.streams.video[0]
            for frame in _frames(container.demux(stream)):
                seconds = playing(float(frame.time or 0))
                if taken(seconds):
                    if container.duration is not None:
                        time.sleep(max(0.0, begun + seconds - time.monotonic()))
                    yield cut(torch.from_numpy(upright(frame).to_ndarray()).permute(2, 0, 1), spec)
            if container.duration is None:
                raise VideoError(shown, "it has ended")
    except av.error.ExitError:
        raise VideoError(shown, f"no picture for {timeout:g} s") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(shown, getattr(error, "strerror", None) or error) from error


def _opened(name: str, kind: str | None, timeout: float) -> InputContainer:
    if kind is not None:
        return av.open(name, format=kind, timeout=timeout)
    if name.startswith("file://"):
        return open_container(name.removeprefix("file://"), timeout)
    # Without TCP, lost packets smear pictures.
    return open_url(name, timeout, {"rtsp_flags": "prefer_tcp"} if name.startswith("rtsp") else {})


def _frames(packets: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
    for packet in packets:
        try:
            yield from cast(list[av.VideoFrame], packet.decode())
        except av.error.InvalidDataError:  # damage on the way: the next ones may be whole
            continue


def connections(source: str, connect: Callable[[], Iterator[Tensor]], reconnect: int) -> Iterator[Picture]:
    """Pictures of one connection after the other, timed by the clock; says on stderr when it connects again.

    Raises:
        VideoError: ``reconnect`` attempts in a row gave no picture; or the very first one, which is a mistake.
    """
    start, lost = time.monotonic(), 0
    ever = False
    while True:
        first = True
        try:
            with closing(connect()) as frames:  # type: ignore[type-var]  # they are generators
                for frame in frames:
                    yield Picture(time.monotonic() - start, frame, first, 0)
                    ever, first, lost = True, False, 0
            return
        except VideoError as error:
            if not ever or lost == reconnect:
                raise
            lost += 1
            print(f"vid: {error}; connecting again ({lost} of {reconnect})", file=sys.stderr)
            time.sleep(min(2.0 ** (lost - 1), LONGEST_PAUSE))


def newest(source: Iterator[Picture]) -> Iterator[Picture]:
    """The newest picture each time; those that come while the model is busy are dropped and counted.

    Raises:
        Exception: What ``source`` raises, after its last picture.
    """
    ready = threading.Condition()
    waiting: list[Picture] = []
    dropped, over, stopped = 0, False, False
    failure: BaseException | None = None

    def read() -> None:
        nonlocal dropped, over, failure
        try:
            for picture in source:
                with ready:
                    if stopped:
                        return
                    if waiting:  # a beginning that is dropped makes the next one the beginning
                        dropped, picture = dropped + 1, picture._replace(first=picture.first or waiting[0].first)
                    waiting[:] = [picture]
                    ready.notify()
        except BaseException as error:
            failure = error
        finally:
            with ready:
                over = True
                ready.notify()

    threading.Thread(target=read, daemon=True).start()
    try:
        while True:
            with ready:
                while not waiting and not over:
                    ready.wait(0.5)  # not for ever, or Windows would not notice Ctrl-C
                if not waiting:
                    break
                picture = waiting.pop()._replace(dropped=dropped)
            yield picture
    finally:
        stopped = True
    if failure is not None:
        raise failure
