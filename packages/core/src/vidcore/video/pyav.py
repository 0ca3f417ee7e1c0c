"""Exact random access to frames with PyAV, the default backend.

The packets of a container, read without decoding, define the number of frames, their presentation times and the key
frames. Frame i is found by its timestamp after a seek to the key frame before it. If timestamps do not reliably
identify frames, the file is decoded once to count them, and from then on always decoded from the start.
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

# Containers whose packets have the same timestamps after a seek.
_SEEKABLE = {"mov", "matroska", "avi"}
# Up to this distance, decode to the next frame instead of seeking: a seek discards the decoder's reordering buffer.
_NEAR = 8
# A shorter MPEG-4 packet means "frame not coded" and may yield no frame.
_EMPTY_MPEG4 = 10
# Check time and frame limits once per this number of packets.
_SOME = 256
# Display orientation message in a packet of H.264 or HEVC. A false positive only costs a little time.
_MESSAGES = 8192  # bytes at the start of a packet to search for such messages
_ORIENTATION = re.compile(rb"\x2f[\x03\x04].{3,5}\x80", re.DOTALL)
_MPEG_VIDEO = ("mpeg1video", "mpeg2video")
_PREDICTED = (PictureType.P, PictureType.B)
# Errors that PyAV raises on bad data.
AV_ERRORS = (av.FFmpegError, OSError, ValueError)


class _Packet(NamedTuple):
    pts: int
    dts: int
    key: bool
    discard: bool
    size: int


@dataclass(frozen=True)
class _Key:
    """A packet at which decoding can start, and the first frame that is correct from there on."""

    frame: int
    pts: int
    dts: int


@dataclass(frozen=True)
class _Index:
    """Timestamps of the frames in display order.

    ``keys`` is empty if only decoding from the start is exact. ``counted``: frames are identified by their position in
    decoding order instead of their timestamp. ``open_gops``: frames displayed before a key frame follow it in the file.
    """

    pts: list[int]
    keys: list[_Key]
    counted: bool
    open_gops: bool = False


class PyavDecoder:
    """Decoder that uses PyAV (FFmpeg) with one thread. Implements [`Decoder`][vidcore.video.decoder.Decoder].

    Reads the first video stream that is not a cover image. Colours are converted like the ``ffmpeg`` command, by the
    frame's own matrix and range. Frames are rotated and mirrored by their display matrix, and resized to the size of
    the first frame. Non-square pixels are not resampled.

    A truncated file has the frames of its remaining packets. If decoding meets damage that the packets do not show, the
    file has only the frames before it from then on. MPEG transport and program streams are decoded past damage, like
    the ``ffmpeg`` command, and concatenated recordings are played one after another.

    Args:
        path: Video file or URL, see [`vidcore.video.source`][].

    Raises:
        VideoError: The file is missing, empty, not a video, or has no frame that can be decoded.
    """

    backend = "pyav"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file: Any = None  # input of FFmpeg: the path, or a file object if the path is not plain
        self._upright = Upright("rgb24")
        self._open()
        try:
            codec = self._stream.codec_context
            self._declared = (codec.width, codec.height)
            self._turned_in_band: bool | None = None  # whether the first packet has an orientation; None: unknown
            self._clock = Clock(self._container)
            self._decoded: Iterator[tuple[int, av.VideoFrame]] = iter(())
            self._next = -1  # index of the frame that _decoded yields next; -1: not started
            self._told: list[int] = []  # presentation times from the container, if it has one for each frame
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
        """(num_frames,) float64 presentation times in seconds."""
        base = self._stream.time_base
        stamps = self._told if len(self._told) == self.num_frames else self._index.pts
        times = torch.tensor(stamps, dtype=torch.float64) * (float(base) if base else 0.0) - self._clock.zero
        return times - times[0].clamp(max=0.0) if self._index.counted else times

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels as displayed. The first access decodes a frame to read its rotation."""
        if self._upright.size is None:
            self._read([0])
        assert self._upright.size is not None
        return self._upright.size

    @property
    def seeks(self) -> bool:
        """Whether timestamps identify the frames, so that decoding can start at any key frame."""
        return bool(self._index.keys)

    @property
    def as_stored(self) -> bool:
        """Whether the first frame has no display matrix, which other backends apply differently."""
        try:
            return not has_matrix(self._fetch(0))
        except _NotThereError:
            return False

    @property
    def in_band(self) -> bool:
        """Whether codec parameters are stored only in the frames, where they may change, not in the container."""
        return "avi" in self._container.format.name and self._stream.codec_context.name in ("h264", "hevc")

    @property
    def open_gops(self) -> bool:
        """Whether frames displayed before a key frame follow it in the file; a seek to it loses them."""
        return self._index.open_gops

    @property
    def stream_index(self) -> int:
        """Index of the video stream among all streams of the file."""
        return self._stream.index

    @property
    def is_default_stream(self) -> bool:
        """Whether FFmpeg would select this stream by default."""
        best = self._container.streams.best("video")
        return best is not None and best.index == self._stream.index

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Decode the frames at ``indices``: uint8 RGB (T, 3, H, W); see ``Decoder.frames``."""
        wanted = check_indices(self.path, indices, self.num_frames)
        return self._read(wanted) if wanted else torch.empty(0, 3, *self.size, dtype=torch.uint8)

    def stored_frames(self) -> Iterator[av.VideoFrame]:
        """Yield all frames in order as decoded by FFmpeg: in the stored size and colour format, not rotated.

        Raises:
            VideoError: A frame that the packets announce cannot be decoded.
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
            raise VideoError(self.path, "has a video stream with an unknown codec")
        self._stream.codec_context.thread_count = 1

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def _read_index(self) -> _Index | None:
        """Index the packets; None if their timestamps do not reliably identify the frames."""
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
        # AVI stores decoding times, and FFmpeg guesses presentation times of B-frames from them.
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
            or packets[0].pts > shown[0]  # frames displayed before the first key frame may be dropped
            or any(p.discard and shown[0] <= p.pts <= shown[-1] for p in packets)
            or getattr(codec, "field_order", 0) > 1  # fields may have separate packets (reported by PyAV >= 18.1)
            or codec.name in ("vp8", "libvpx")  # has packets without a displayed frame
            or len(sequences) > 1  # FFmpeg drops a frame when the size changes
            or (codec.name == "mpeg4" and min(p.size for p in packets) < _EMPTY_MPEG4)
            or ("avi" in formats and reordered)
            or (seekable and codec.has_b_frames and not reordered)  # the container lacks presentation times
        ):
            return None
        keys = [_Key(bisect_left(shown, p.pts), p.pts, p.dts) for p in packets if p.key]
        latest = accumulate((p.pts if p.key else shown[0] for p in packets), max)
        open_gops = any(p.pts < key for p, key in zip(packets, latest, strict=True) if not p.discard)
        keys.sort(key=operator.attrgetter("pts"))
        return _Index(shown, keys if seekable else [], counted=False, open_gops=open_gops)

    def _count(self) -> _Index:
        """Decode the complete file once, up to the first damage, without keeping frames."""
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
                # Decoding does not yield an indexed frame: count the frames.
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
                self._upright(self._fetch(0))  # the first frame defines size and rotation of all
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
        """Seek to a key frame, or reopen the file if the seek is not reliable."""
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
        # Broadcast or joined recordings may contain damaged packets; skip them.
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
        """Convert to RGB: uint8 (H, W, 3), a view of the frame's buffer."""
        converted = self._upright(frame)
        plane = converted.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[: converted.height, : converted.width * 3].reshape(converted.height, converted.width, 3)


class _NotThereError(Exception):
    """Decoding did not yield an indexed frame."""


def check_indices(path: str, indices: Sequence[int], num_frames: int) -> list[int]:
    """Return the indices as a list of int.

    Raises:
        VideoError: An index is outside [0, num_frames).
    """
    wanted = [operator.index(i) for i in indices]
    for i in wanted:
        if not 0 <= i < num_frames:
            raise VideoError(path, f"frame {i} is out of range: it has {num_frames} frames that can be decoded")
    return wanted


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
