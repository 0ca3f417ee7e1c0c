"""Motion IoU of boxes."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import box_iou

from vidcore_datasets.boxes import box_target, of_frames
from vidcore_datasets.tracks import motion_iou


def slowly(boxes, frames, tracks, reach=10):
    """Compute motion IoU box by box with torchvision."""
    overlap = box_iou(torch.as_tensor(boxes), torch.as_tensor(boxes)).numpy()
    result = []
    for row in range(len(boxes)):
        near = (tracks == tracks[row]) & (np.abs(frames - frames[row]) <= reach)
        near[row] = False
        result.append(overlap[row][near].mean() if near.any() else np.nan)
    return np.array(result)


def test_against_torchvision_box_by_box() -> None:
    rng = np.random.default_rng(0)
    frames, tracks = np.divmod(rng.choice(240, 150, replace=False), 4)
    corner = rng.random((150, 2)) * 30
    boxes = np.concatenate([corner, corner + 10 + rng.random((150, 2)) * 30], 1)
    for reach in (1, 3, 10):
        np.testing.assert_allclose(
            motion_iou(boxes, frames, tracks, reach), slowly(boxes, frames, tracks, reach), rtol=1e-6
        )


def test_known_speeds() -> None:
    frames = np.arange(40)
    boxes = np.array([[0, 0, 10, 10]]) + frames[:, None] * np.array([[1, 0, 1, 0]])
    # At one pixel per frame, the IoU at k frames' distance is (10 - k) / (10 + k); each distance counts twice.
    assert np.isclose(motion_iou(boxes, frames, np.zeros(40))[20], np.mean([(10 - k) / (10 + k) for k in range(1, 11)]))
    assert (motion_iou(np.tile(boxes[:1], (40, 1)), frames, np.zeros(40)) == 1).all()
    assert np.isnan(motion_iou(boxes, frames * 11, np.zeros(40))).all(), "nothing is near"
    assert np.isnan(motion_iou(boxes, frames, frames)).all(), "each its own track"
    assert motion_iou(np.empty((0, 4)), np.empty(0), np.empty(0)).shape == (0,)


def test_target_is_in_the_order_of_frames() -> None:
    rows = [(3, 1, 7, 0, 0, 4, 4), (1, 0, 9, 1, 1, 2, 3), (2, 1, 7, 0, 0, 4, 2)]
    target = box_target(rows)
    assert target["frames"].tolist() == [1, 2, 3] and target["labels"].tolist() == [0, 1, 1]
    assert target["boxes"].tolist() == [[1, 1, 2, 3], [0, 0, 4, 2], [0, 0, 4, 4]]
    np.testing.assert_allclose(target["motion"], [np.nan, 0.5, 0.5])
    part = of_frames(target, 2, 2)
    assert {name: values.tolist() for name, values in part.items()} == {
        "boxes": [[0, 0, 4, 2]],
        "labels": [1],
        "frames": [2],
        "tracks": [7],
        "motion": [0.5],
    }
    assert np.shares_memory(part["boxes"], target["boxes"])
    assert {name: values.shape for name, values in box_target([]).items()} == {
        "boxes": (0, 4),
        "labels": (0,),
        "frames": (0,),
        "tracks": (0,),
        "motion": (0,),
    }
