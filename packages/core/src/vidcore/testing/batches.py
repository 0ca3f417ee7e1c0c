"""Batches for tests."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from vidcore.batch import Batch
from vidcore.task import Kind, Task


def tiny_batch(
    rows: int = 2,
    frames: int = 8,
    size: int = 32,
    classes: int = 3,
    *,
    kind: Kind = "single_label",
    segments: int = 1,
    audio_samples: int = 0,
) -> Batch:
    """Create a batch of noise with targets, identical in every call.

    Args:
        rows: B. Default: 2.
        frames: T, number of frames per row over all segments; 0 for no ``rgb``. Default: 8.
        size: Height and width in pixels. Default: 32.
        classes: K. The highest class occurs, so that the targets define the number of classes. Default: 3.
        kind: Kind of the targets; ``detection``: one box per frame. Default: ``single_label``.
        segments: S, number of audio segments. Default: 1.
        audio_samples: Audio samples per segment, ``audio_rate · audio_seconds`` of the clip spec; 0 for no audio.
            Default: 0.
    """
    generator = torch.Generator().manual_seed(0)
    inputs: dict[str, Tensor] = {}
    if frames:
        inputs["rgb"] = torch.randn(rows, 3, frames, size, size, generator=generator)
    if audio_samples:
        inputs["audio"] = torch.rand(rows, segments, audio_samples, generator=generator) * 2 - 1
    labels = classes - 1 - torch.arange(max(rows, frames)) % classes
    target: Any = labels[:rows]
    if kind == "multi_label":
        target = torch.nn.functional.one_hot(target, classes).float()
    elif kind == "detection":
        corner = torch.rand(rows, frames, 2, generator=generator) * size / 2
        boxes = torch.cat([corner, corner + size / 2], -1)
        target = [{"boxes": box, "labels": labels[:frames].clone(), "frames": torch.arange(frames)} for box in boxes]
    batch = Batch(inputs=inputs, target=target, ids=[f"video {row}" for row in range(rows)])
    if audio_samples:
        batch["present"] = {"audio": torch.ones(rows, dtype=torch.bool)}
    return batch


def task_of(batch: Batch) -> Task:
    """Return the task of a batch's targets, with as many classes as they contain."""
    target = batch["target"]
    if isinstance(target, list):
        return Task.numbered(1 + max(int(row["labels"].max()) for row in target if len(row["labels"])), "detection")
    if target.dim() == 2:
        return Task.numbered(target.shape[1], "multi_label")
    return Task.numbered(1 + int(target.max()), "single_label")


def without_target(batch: Batch) -> Batch:
    """Return a copy without targets, as for unlabelled data."""
    unlabelled = copy.deepcopy(batch)
    del unlabelled["target"]
    return unlabelled


def row_of(batch: Batch, row: int) -> Batch:
    """Return a copy of one row, as a batch."""
    only = slice(row, row + 1)
    single = copy.deepcopy(batch)
    single["inputs"] = {name: value[only] for name, value in single["inputs"].items()}
    single["target"], single["ids"] = single["target"][only], single["ids"][only]
    if "present" in single:
        single["present"] = {name: value[only] for name, value in single["present"].items()}
    return single
