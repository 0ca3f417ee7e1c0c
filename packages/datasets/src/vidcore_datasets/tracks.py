"""Motion of tracked boxes."""

from __future__ import annotations

import numpy as np

MOTION_GROUPS = {"slow": (0.9, 1.0), "medium": (0.7, 0.9), "fast": (0.0, 0.7)}
"""Bounds of the motion IoU of each group, as in FGFA (Zhu et al. 2017, Flow-guided feature aggregation)."""


def motion_iou(boxes: np.ndarray, frames: np.ndarray, tracks: np.ndarray, reach: int = 10) -> np.ndarray:
    """Compute the motion IoU of each box: its mean IoU with the boxes of the same track in nearby frames.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        frames: (N,) frame of each box; a track has at most one box per frame.
        tracks: (N,) track of each box.
        reach: Number of frames before and after each box to compare with. Default: 10.

    Returns:
        (N,) float32 in [0, 1], high for slow motion; NaN without another box of the track nearby. Groups:
        [`MOTION_GROUPS`][vidcore_datasets.tracks.MOTION_GROUPS].
    """
    order = np.lexsort((frames, tracks))
    box, frame, track = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)[order], frames[order], tracks[order]
    total, count = np.zeros(len(box)), np.zeros(len(box))
    for step in range(1, min(reach, len(box) - 1) + 1):
        near = np.flatnonzero((track[step:] == track[:-step]) & (frame[step:] - frame[:-step] <= reach))
        overlap = _iou(box[near], box[near + step])
        for one in (near, near + step):
            total[one] += overlap
            count[one] += 1
    result = np.full(len(box), np.nan, dtype=np.float32)
    result[order[count > 0]] = total[count > 0] / count[count > 0]
    return result


def _iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of pairs of (N, 4) boxes."""
    sides = np.clip(np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2]), 0, None)
    common = sides.prod(1)
    union = (one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1) - common
    return common / np.maximum(union, 1e-9)
