"""One labelled stretch of video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One labelled stretch of video.

    Args:
        path: The file, or a folder with the frames as pictures.
        target: single_label: the class index; multi_label: the indices of all classes; detection: a mapping with
            ``boxes`` (N, 4) x1, y1, x2, y2 in pixels of the source frame, ``labels`` (N,) and ``frames`` (N,), the
            source frame that each box is in, and whatever else (N, ...) there is to say of boxes, such as ``tracks``;
            None where nothing is labelled.
        id: Which video this is, in results; the path if not given.
        start: Where the stretch begins, in seconds; None: at the first frame.
        end: Where it ends, in seconds, exclusive; None: after the last frame.
        fps: Rate in Hz of the frames in a folder, 30 if None; files know theirs.
    """

    path: str
    target: Any = None
    id: str = ""
    start: float | None = None
    end: float | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", str(self.path))
        object.__setattr__(self, "id", self.id or self.path)
