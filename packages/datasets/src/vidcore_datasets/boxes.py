"""Detection targets of videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vidcore_datasets.tracks import motion_iou

Row = tuple[int, int, int, float, float, float, float]
"""One box: frame, class, track, x1, y1, x2, y2."""


def box_target(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Return boxes as the target of a [`Sample`][vidcore.sample.Sample], sorted by frame.

    Returns:
        ``boxes`` (N, 4) float32, ``labels``, ``frames`` and ``tracks`` (N,) int64, and ``motion`` (N,) float32, see
        [`motion_iou`][vidcore_datasets.tracks.motion_iou].
    """
    table = np.array(sorted(rows), dtype=np.float64).reshape(-1, 7)
    frames, labels, tracks = (table[:, column].astype(np.int64) for column in range(3))
    boxes = table[:, 3:].astype(np.float32)
    motion = motion_iou(boxes, frames, tracks)
    return {"boxes": boxes, "labels": labels, "frames": frames, "tracks": tracks, "motion": motion}


def of_frames(target: Mapping[str, np.ndarray], first: int, last: int) -> dict[str, np.ndarray]:
    """Return the part of a target in frames ``first`` to ``last`` (inclusive), without copying."""
    start, stop = np.searchsorted(target["frames"], [first, last + 1])
    return {name: values[start:stop] for name, values in target.items()}
