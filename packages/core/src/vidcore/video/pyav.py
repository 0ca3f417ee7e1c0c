"""Exact random access to frames with PyAV, the default backend.

A container's packets, read without decoding, tell how many frames there are, when each is shown and where decoding can
start. Frame i is found by its timestamp after a seek to the key frame before it. Where timestamps cannot be trusted to
name frames, the file is decoded once to count them, and always from the start afterwards.
"""

from __future__ import annotations

import operator
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from typing import Any, NamedTuple, cast

import av
import numpy as np
import torch
from av.video.frame import PictureType
from torch import Tensor
from typing_extensions import Self

from vidcore.video.clock import Clock, first_streams, joinable
from vidcore.video.container import open_container
from vidcore.video.decoder import VideoError
from vidcore.video.limits import CLIP_PIXELS, FRAMES
from vidcore.video.source import opened
from vidcore.video.time_limit import check_time, remaining
from vidcore.video.upright import Upright, has_matrix

# Containers whose index leads a seek to a packet with the timestamps it had before.
_SEEKABLE = {"mov", "matroska", "avi"}
# Frames that are decoded rather than jumped over: a seek throws away what the decoder holds back for reordering.
_NEAR = 8
# A shorter MPEG-4 packet holds "frame not coded" and may yield no frame.
_EMPTY_MPEG4 = 10
# Packets after which time and number are checked.
_SOME = 256
# A message on the orientation in a packet of H.264 or HEVC. What only looks like one costs a little time.
_MESSAGES = 8192  # bytes at the beginning of a packet in which they lie
_ORIENTATION = re.compile(rb"\x2f[\x03\x04].{3,5}\x80", re.DOTALL)
_MPEG_VIDEO = ("mpeg1video", "mpeg2video")
_PREDICTED = (PictureType.P, PictureType.B)
# Everything that PyAV raises on bad data; FFmpegError covers its subclasses that are also OSError or ValueError.
AV_ERRORS = (av.FFmpegError, OSError, ValueError)


class _Packet(NamedTuple):
    pts: int
    dts: int
    key: bool
    discard: bool
    size: int


@dataclass(frozen=True)
class _Key:
    """A packet at which decoding can start, and the first frame that is right from there on."""

    frame: int
    pts: int
    dts: int


@dataclass(frozen=True)
class _Index:
    """Timestamps of the frames in display order.

    ``keys`` is empty where only a decode from the start is exact; ``counted`` where frames are known by their place
    in it rather than by timestamp. ``open_gops``: frames shown before a key frame follow it in the file.
    """

    pts: list[int]
    keys: list[_Key]
    counted: bool
    open_gops: bool = False


class PyavDecoder:
    """Frames of a video file through PyAV (FFmpeg), one thread. See :class:`~vidcore.video.decoder.Decoder`.

    Reads the first video stream that is not a cover picture. Colours are converted as the ``ffmpeg`` command does,
    by the frame's own matrix and range. Frames are turned and mirrored by their display matrix, and scaled to the size
    of the first frame. Pixels that are not square stay as they are stored.

    A truncated file has the frames whose packets are there. Damage that shows only when decoding is met on the way:
    from then on the file has the frames before it. MPEG transport and program streams are decoded past damage, as the
    ``ffmpeg`` command does, and recordings that were joined end to end play one after the other.

    Args:
        path: A video file, at a URL too, see :mod:`vidcore.video.source`.

    Raises:
        VideoError: The file is missing, empty, not a video, or has no frame that can be decoded.
    """

    backend = "pyav"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file: Any = None  # what FFmpeg reads: the path, or an object where it is no plain file's
        self._upright = Upright("rgb24")
        self._open()
        try:
            codec = self._stream.codec_context
            self._declared = (codec.width, codec.height)
            self._turned_in_band: bool | None = None  # whether the first packet tells an orientation; not known yet
            self._clock = Clock(self._container)
            self._decoded: Iterator[tuple[int, av.VideoFrame]] = iter(())
            self._next = -1  # the frame that _decoded yields next; -1: not started
            self._told: list[int] = []  # when frames are shown as the container tells, if it does for each of them
            self._index = self._read_index() or self._count()
            if not self._index.pts:
                raise VideoError(self.path, "has no frame that can be decoded")
            rate = self._stream.average_rate or self._stream.guessed_rate
            self.fps = float(rate) if rate else self._mean_rate()
        except AV_ERRORS as error:
            self.close()
            raise VideoError(self.path, _reason(error)) from error
        except VideoError:
            self.close()
            raise

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self._index.pts)

    @property
    def times(self) -> Tensor:
        """(num_frames,) float64, when each frame is shown, in seconds."""
        base = self._stream.time_base
        stamps = self._told if len(self._told) == self.num_frames else self._index.pts
        times = torch.tensor(stamps, dtype=torch.float64) * (float(base) if base else 0.0) - self._clock.zero
        return times - times[0].clamp(max=0.0) if self._index.counted else times

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels as shown. The first access decodes a frame, which alone tells the rotation."""
        if self._upright.size is None:
            self._read([0])
        assert self._upright.size is not None
        return self._upright.size

    @property
    def seeks(self) -> bool:
        """Whether timestamps name this file's frames, so that decoding may start at any key frame."""
        return bool(self._index.keys)

    @property
    def as_stored(self) -> bool:
        """Whether the first frame has no display matrix, by which backends turn frames in ways of their own."""
        try:
            return not has_matrix(self._fetch(0))
        except _NotThereError:
            return False

    @property
    def in_band(self) -> bool:
        """Whether frames come with the codec's parameters, which may change, and the container has none."""
        return "avi" in self._container.format.name and self._stream.codec_context.name in ("h264", "hevc")

    @property
    def open_gops(self) -> bool:
        """Whether frames shown before a key frame follow it in the file, and are lost after a seek to it."""
        return self._index.open_gops

    @property
    def stream_index(self) -> int:
        """Number of the video stream among the file's streams."""
        return self._stream.index

    @property
    def is_default_stream(self) -> bool:
        """Whether FFmpeg's own choice would be this stream."""
        best = self._container.streams.best("video")
        return best is not None and best.index == self._stream.index

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Decode the frames at ``indices``: uint8 RGB (T, 3, H, W); see :meth:`Decoder.frames`."""
        wanted = check_indices(self.path, indices, self.num_frames)
        return self._read(wanted) if wanted else torch.empty(0, 3, *self.size, dtype=torch.uint8)

    def stored_frames(self) -> Iterator[av.VideoFrame]:
        """Every frame, in order, as FFmpeg decodes it: in the file's own size and colours, not turned upright.

        Raises:
            VideoError: A frame that the packets promise cannot be decoded.
        """
        number = 0
        while number < self.num_frames:
            try:
                yield self._fetch(number)
                number += 1
            except _NotThereError as error:
                if self._index.counted:
                    about = f"frame {number} of {self.num_frames} cannot be decoded: {error}"
                    raise VideoError(self.path, about) from error
                self._index = self._count()

    def close(self) -> None:
        """Close the file."""
        self._decoded = iter(())
        self._container.close()
        if self._file is not self.path:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self) -> None:
        try:
            if self._file is None:
                self._file = opened(self.path)
            elif self._file is not self.path:
                self._file.seek(0)
            self._container = open_container(self._file, remaining())
        except AV_ERRORS as error:
            raise VideoError(self.path, _reason(error)) from error
        streams = [stream for stream in first_streams(self._container) if stream.type == "video"]
        if not streams:
            self._container.close()
            raise VideoError(self.path, "has no video stream")
        self._stream = cast(av.VideoStream, streams[0])
        if self._stream.codec_context is None:
            self._container.close()
            raise VideoError(self.path, "has a video stream of an unknown kind")
        self._stream.codec_context.thread_count = 1

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def _read_index(self) -> _Index | None:
        """Index the packets; None where their timestamps do not name the frames for sure."""
        packets: list[_Packet] = []
        certain, codec = True, self._stream.codec_context
        sequences: set[bytes] = set()  # width and height
        read = self._clock.packets if joinable(self._container) else self._container.demux
        for p in read(self._stream):
            if len(packets) % _SOME == 0:
                check_time(self.path)
                FRAMES.check(len(packets))
            if not p.size:
                continue
            if self._turned_in_band is None:
                self._turned_in_band = codec.name in ("h264", "hevc") and bool(
                    _ORIENTATION.search(memoryview(p)[:_MESSAGES])
                )
            if codec.name in _MPEG_VIDEO and p.is_keyframe:
                sequences.add(bytes(memoryview(p)[4:7]))
            if p.pts is None or p.dts is None or p.is_corrupt:
                certain = False
            else:
                packets.append(_Packet(p.pts, p.dts, p.is_keyframe, p.is_discard, p.size))
        pts = [p.pts for p in packets if not p.discard]
        shown = sorted(set(pts))
        formats = set(self._container.format.name.split(","))
        # AVI stores when packets are decoded, and FFmpeg guesses from it when B-frames are shown.
        self._told = sorted(p.dts for p in packets if not p.discard) if "avi" in formats else shown
        if self._clock.joined:
            self._told = self._clock.times(self._stream)
        seekable, reordered = formats & _SEEKABLE, pts != shown
        if (
            not certain
            or not shown
            or self._clock.joined
            or len(shown) < len(pts)
            or not packets[0].key
            or packets[0].pts > shown[0]  # pictures that lead the first key frame may be dropped
            or any(p.discard and shown[0] <= p.pts <= shown[-1] for p in packets)
            or getattr(codec, "field_order", 0) > 1  # fields may come in packets of their own (PyAV tells since 18.1)
            or codec.name in ("vp8", "libvpx")  # has packets that show nothing
            or len(sequences) > 1  # FFmpeg drops a frame where the size changes
            or (codec.name == "mpeg4" and min(p.size for p in packets) < _EMPTY_MPEG4)
            or ("avi" in formats and reordered)
            or (seekable and codec.has_b_frames and not reordered)  # the container does not tell when they are shown
        ):
            return None
        keys = [_Key(bisect_left(shown, p.pts), p.pts, p.dts) for p in packets if p.key]
        latest = accumulate((p.pts if p.key else shown[0] for p in packets), max)
        open_gops = any(p.pts < key for p, key in zip(packets, latest, strict=True) if not p.discard)
        keys.sort(key=operator.attrgetter("pts"))
        return _Index(shown, keys if seekable else [], counted=False, open_gops=open_gops)

    def _count(self) -> _Index:
        """Decode all once, without keeping anything, up to the first damage."""
        self._reopen()
        pts: list[int | None] = []
        try:
            for frame in islice(self._decode(self._container.demux(self._stream)), FRAMES.value + 1):
                if not pts:
                    self._upright(frame)
                pts.append(frame.pts)
        except AV_ERRORS as error:
            if not pts:
                raise VideoError(self.path, _reason(error)) from error
        FRAMES.check(len(pts))
        self._next = -1
        known = {p for p in pts if p is not None}
        if len(known) == len(pts):
            return _Index(sorted(known), [], counted=True)
        base, rate = self._stream.time_base, self._stream.average_rate or self._stream.guessed_rate
        step = 1 / (base * rate) if base and rate else 1
        first = self._clock.zero / base if base else 0
        return _Index([round(first + i * step) for i in range(len(pts))], [], counted=True)

    def _mean_rate(self) -> float:
        span = float(self.times[-1] - self.times[0])
        return (self.num_frames - 1) / span if span > 0 else 25.0

    def _read(self, wanted: list[int]) -> Tensor:
        try:
            try:
                return self._collect(wanted)
            except _NotThereError:
                # Packets promised what decoding does not give: only counting tells what is there.
                self._index = self._count()
            check_indices(self.path, wanted, self.num_frames)
            return self._collect(wanted)
        except _NotThereError as error:
            raise VideoError(self.path, f"frames up to {max(wanted)} cannot be decoded: {error}") from error
        except AV_ERRORS as error:
            raise VideoError(self.path, _reason(error)) from error

    def _collect(self, wanted: list[int]) -> Tensor:
        out: Tensor | None = None
        places: dict[int, list[int]] = {}
        for place, number in enumerate(wanted):
            places.setdefault(number, []).append(place)
        for number in sorted(places):
            frame = self._fetch(number)
            odd = self._turned_in_band or (frame.width, frame.height) != self._declared
            if odd and number and self._upright.size is None:
                self._upright(self._fetch(0))  # what holds for all frames is only told by the first
            picture = self._picture(frame)
            if out is None:
                CLIP_PIXELS.check(len(wanted) * picture.shape[0] * picture.shape[1])
                out = torch.empty(len(wanted), *picture.shape, dtype=torch.uint8)
            for place in places[number]:
                out[place] = torch.from_numpy(picture)
        assert out is not None
        return out.permute(0, 3, 1, 2)

    def _fetch(self, wanted: int) -> av.VideoFrame:
        """Decode up to frame ``wanted``."""
        keys = self._index.keys
        key = keys[bisect_right(keys, wanted, key=operator.attrgetter("frame")) - 1] if keys else None
        start = key.frame if key else 0
        if not 0 <= self._next <= wanted or start > self._next + _NEAR:
            self._restart(key)
        self._next = -1  # in case of an error
        try:
            for number, frame in self._decoded:
                if number == wanted:
                    self._next = wanted + 1
                    return frame
                if number > wanted:
                    break
        except AV_ERRORS as error:
            raise _NotThereError(_reason(error)) from error
        raise _NotThereError(f"there is no frame {wanted}")

    def _restart(self, key: _Key | None) -> None:
        """Go to a key frame, or to the file's first packet, where seeking cannot be trusted to find it."""
        packets = self._seek(key) if key else None
        if packets is None:
            self._reopen()
            packets = self._container.demux(self._stream)
        frames = self._decode(packets)
        if self._index.counted:
            self._decoded = enumerate(frames)
        else:
            self._decoded = self._numbered(frames, key.frame if key else 0)
        self._next = key.frame if key else 0

    def _numbered(self, frames: Iterator[av.VideoFrame], start: int) -> Iterator[tuple[int, av.VideoFrame]]:
        numbers = {pts: number for number, pts in enumerate(self._index.pts)}
        following = start
        landed = start == 0
        for frame in frames:
            number = -1 if frame.pts is None else numbers.get(frame.pts, -1)
            if not landed and 0 <= number < start:
                continue
            # With intra refresh, packets from which the picture only recovers step by step count as key frames.
            if not landed and (frame.pict_type in _PREDICTED or frame.is_corrupt):
                raise _NotThereError("a frame depends on others that a seek jumped over")
            if number != following:
                raise _NotThereError(f"the frame after frame {following - 1} has another frame's time stamp")
            landed = True
            following += 1
            yield number, frame

    def _seek(self, key: _Key) -> Iterator[av.Packet] | None:
        # Containers index by one or the other; the packet met first tells whether it was the right one.
        for target in dict.fromkeys((key.pts, key.dts)):
            self._container.seek(target, stream=self._stream)
            packets = self._container.demux(self._stream)
            first = next(packets, None)
            if first is not None and first.is_keyframe and first.pts is not None and first.pts <= key.pts:
                return chain((first,), packets)
        return None

    def _decode(self, packets: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
        decode = self._stream.codec_context.decode
        # What is broadcast or joined may be damaged on the way, and goes on.
        passed = av.FFmpegError if joinable(self._container) else ()
        for packet in chain(self._clock.correct(packets), (None,)):
            check_time(self.path)
            if packet is None or packet.size:
                try:
                    frames = decode(packet)
                except passed:
                    continue
                yield from frames

    def _picture(self, frame: av.VideoFrame) -> np.ndarray:
        """Convert to RGB: uint8 (H, W, 3), a view of a buffer of its own."""
        converted = self._upright(frame)
        plane = converted.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[: converted.height, : converted.width * 3].reshape(converted.height, converted.width, 3)


class _NotThereError(Exception):
    """Decoding did not give the frame that the index names."""


def check_indices(path: str, indices: Sequence[int], num_frames: int) -> list[int]:
    """Indices as a list of int.

    Raises:
        VideoError: One is outside 0 ... num_frames - 1.
    """
    wanted = [operator.index(i) for i in indices]
    for i in wanted:
        if not 0 <= i < num_frames:
            raise VideoError(path, f"frame {i} is out of range: it has {num_frames} frames that can be decoded")
    return wanted


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
