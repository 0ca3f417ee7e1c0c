"""Convert decoded frames like the ``ffmpeg`` command: rotated, mirrored, and resized to one size."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any, cast

import av
from av.sidedata.sidedata import Type


class Upright:
    """Convert the frames of a stream to a pixel format, upright and of one size.

    Frames are rotated and mirrored by their display matrix, or by the first frame's if they have none, like ``ffmpeg
    -autorotate``, then resized to the size of the first frame. Non-square pixels are not resampled.

    Args:
        format: Pixel format of the result.
        resize: Function from height and width of the upright first frame to those of the result. Default: unchanged.
        options: Further options of FFmpeg's scale filter.
    """

    def __init__(
        self, format: str, resize: Callable[[int, int], tuple[int, int]] | None = None, options: str = ""
    ) -> None:
        self._format, self._resize, self._options = format, resize, options
        self.size: tuple[int, int] | None = None  # height and width of the result, set by the first frame
        self._matrix = b""
        self._graph: av.filter.Graph | None = None
        self._graph_of: tuple[object, ...] = ()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Convert a frame."""
        matrix = _matrix(frame)
        if self.size is None:
            size = upright_size(frame)
            self.size = self._resize(*size) if self._resize else size
            self._matrix = matrix
        of = (frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range, matrix)
        if self._graph is None or of != self._graph_of:
            steps = _steps(matrix or self._matrix)
            if not steps or self._options or _turned(frame, steps) != self.size:
                # The scale filter respects the chroma location like ffmpeg; VideoFrame.reformat does not.
                steps.append(("scale", f"{self.size[1]}:{self.size[0]}:flags=bicubic{self._options}"))
            graph = av.filter.Graph()
            graph.threads = 1
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 90_000)
            )
            chain = [graph.add(name, arguments) for name, arguments in [*steps, ("format", self._format)]]
            graph.link_nodes(source, *chain, graph.add("buffersink")).configure()
            self._graph, self._graph_of = graph, of
        self._graph.push(frame)
        return cast(av.VideoFrame, self._graph.pull())


def has_matrix(frame: av.VideoFrame) -> bool:
    """Return whether a frame has a display matrix, even one without effect."""
    return bool(_matrix(frame))


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Return height and width of a frame as displayed."""
    return _turned(frame, _steps(_matrix(frame)))


def _turned(frame: av.VideoFrame, steps: list[tuple[str, str]]) -> tuple[int, int]:
    turned = any(name == "transpose" for name, _ in steps)
    return (frame.width, frame.height) if turned else (frame.height, frame.width)


def _matrix(frame: av.VideoFrame) -> bytes:
    data = cast(Any, frame.side_data)
    return bytes(data[Type.DISPLAYMATRIX]) if Type.DISPLAYMATRIX in data else b""


def _steps(matrix: bytes) -> list[tuple[str, str]]:
    """Return FFmpeg's filters and arguments that apply a display matrix.

    They are those of the ``ffmpeg`` command, including matrices that are not a multiple of a quarter turn.
    """
    if len(matrix) < 36:
        return []
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:36])
    if not (a or c) or not (b or d):  # singular
        return []
    degrees = round(math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))) % 360
    if degrees == 90:
        return [("transpose", "cclock_flip" if c > 0 else "clock")]
    if degrees == 180:
        return [(name, "") for name, value in (("hflip", a), ("vflip", d)) if value < 0]
    if degrees == 270:
        return [("transpose", "clock_flip" if c < 0 else "cclock")]
    if degrees:
        return [("rotate", f"{degrees}*PI/180")]
    return [("vflip", "")] if d < 0 else []
