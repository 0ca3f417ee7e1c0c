"""Playback time of the streams of a file, including files joined from several recordings."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

# Containers that can be concatenated.
_JOINABLE = {"mpegts", "mpeg"}
RATE = 90_000  # of their timestamps, in Hz
# A larger gap in ticks within a stream starts a new recording, as in the ffmpeg command.
_GAP = 10 * RATE


def joinable(container: InputContainer) -> bool:
    """Whether recordings of this format can be concatenated."""
    return container.format.name in _JOINABLE


def first_streams(container: InputContainer) -> list[Stream]:
    """Return the first video stream that is not a cover image and the first audio stream, if they exist."""
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    return [*videos[:1], *container.streams.audio[:1]]


class _Stamp(NamedTuple):
    position: int
    stream: int
    dts: int
    pts: int
    end: int


class Clock:
    """Playback time in seconds, for files whose timestamps may restart.

    MPEG transport and program streams can be concatenated; timestamps of the parts then collide or jump. Recordings are
    played one after another: each starts when all streams of the previous one have ended.

    Args:
        container: Container of the file.
    """

    def __init__(self, container: InputContainer) -> None:
        self.zero = max(0.0, (container.start_time or 0) / av.time_base)
        """Timestamp in seconds at which playback starts; negative times are codec pre-roll, which is not played."""
        self._container = container
        self._stamps: list[_Stamp] = []
        self._parts: list[tuple[int, int]] = []  # byte position of each recording and offset of its timestamps
        self._latest: dict[int, int] = {}

    @property
    def joined(self) -> bool:
        """Whether ``packets`` found more than one recording."""
        return len(self._parts) > 1

    def packets(self, wanted: Stream) -> Iterator[av.Packet]:
        """Yield all packets of a stream of a newly opened file, unchanged. Afterwards its recordings are known."""
        self._latest = {}
        delays: dict[int, int] = {}  # from decoding to display
        for packet in self._container.demux(*first_streams(self._container)):
            position, stream = self._position(packet), packet.stream_index
            if packet.size and packet.pts is not None and packet.dts is not None:
                delay = packet.pts - packet.dts
                if 0 <= delay <= _GAP:
                    delays[stream] = max(delay, delays.get(stream, 0))
                else:  # FFmpeg derived it from the next packet, which belongs to the next recording
                    delay = delays.get(stream, 0)
                pts = packet.dts + delay
                self._stamps.append(_Stamp(position, stream, packet.dts, pts, pts + max(1, packet.duration or 0)))
            if packet.stream is wanted:
                yield packet
        ends: dict[int, int] = {}
        for part in _split(sorted(self._stamps, key=operator.attrgetter("position"))):
            starts: dict[int, int] = {}
            for stamp in part:
                starts[stamp.stream] = min(stamp.pts, starts.get(stamp.stream, stamp.pts))
            both = [ends[stream] - starts[stream] for stream in starts.keys() & ends.keys()]
            shift = max(both) if both else max(ends.values()) - min(starts.values()) if ends else 0
            for stamp in part:
                ends[stamp.stream] = max(stamp.end + shift, ends.get(stamp.stream, stamp.end + shift))
            self._parts.append((part[0].position, shift))
        if self.joined:
            self.zero = min(stamp.pts + self._shift(stamp.position) for stamp in self._stamps) / RATE

    def times(self, stream: Stream) -> list[int]:
        """Return the corrected timestamps of a stream's packets, ascending."""
        own = (stamp for stamp in self._stamps if stamp.stream == stream.index)
        return sorted({stamp.pts + self._shift(stamp.position) for stamp in own})

    def end(self, stream: Stream) -> float:
        """Return the playback time in seconds at which a stream ends."""
        own = (stamp for stamp in self._stamps if stamp.stream == stream.index)
        return max((stamp.end + self._shift(stamp.position) for stamp in own), default=0) / RATE - self.zero

    def correct(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """Shift the timestamps of packets, from the first of the file on, so that recordings follow one another."""
        if not self.joined:
            return packets
        self._latest = {}
        return map(self._corrected, packets)

    def _corrected(self, packet: av.Packet) -> av.Packet:
        shift = self._shift(self._position(packet))
        if packet.pts is not None:
            packet.pts += shift
        if packet.dts is not None:
            packet.dts += shift
        return packet

    def _shift(self, position: int) -> int:
        """Return the offset of the timestamps of a packet at a byte position."""
        return self._parts[max(0, bisect_right(self._parts, position, key=operator.itemgetter(0)) - 1)][1]

    def _position(self, packet: av.Packet) -> int:
        """Return the byte position of a packet, or that of the previous packet of its stream if unknown."""
        position = self._latest.get(packet.stream_index, 0) if packet.pos is None else packet.pos
        self._latest[packet.stream_index] = position
        return position


def _split(stamps: list[_Stamp]) -> Iterator[list[_Stamp]]:
    """Split timestamps in file order into recordings."""
    part: list[_Stamp] = []
    latest: dict[int, int] = {}
    for stamp in stamps:
        if not 0 <= stamp.dts - latest.get(stamp.stream, stamp.dts) <= _GAP:
            yield part
            part, latest = [], {}
        part.append(stamp)
        latest[stamp.stream] = stamp.dts
    if part:
        yield part
