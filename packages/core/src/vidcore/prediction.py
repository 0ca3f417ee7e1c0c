"""What a model says of each video of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vidcore.batch import Output
from vidcore.metrics import probabilities, video_scores
from vidcore.task import Task

TOP = 5
"""How many classes a prediction names."""


def view_numbers(ids: Sequence[str]) -> Tensor:
    """(B,) int64: which view of its video each row is, from 0; all views of a video are rows of one batch."""
    seen: Counter[str] = Counter()
    numbers = []
    for video_id in ids:
        numbers.append(seen[video_id])
        seen[video_id] += 1
    return torch.tensor(numbers)


def video_rows(output: Output, ids: Sequence[str], task: Task, macs: Tensor, seconds: float) -> list[dict[str, Any]]:
    """One row a video: ``path``, ``top`` or ``detections``, ``decisions``, ``gmacs``, ``ms``, ``trace``.

    Args:
        output: Of a batch of B rows; the scores of a video's views are averaged, of the rest the first view's count.
        ids: B names of videos.
        task: Names the classes.
        macs: (B,) multiply-accumulates.
        seconds: That the batch took.
    """
    rows = []
    for video in dict.fromkeys(ids):
        of_video = [row for row, video_id in enumerate(ids) if video_id == video]
        row: dict[str, Any] = {"path": video}
        if output.logits is not None:
            row["top"] = top(video_scores(output.logits[of_video], task)[0], task)
        if output.detections is not None:
            row["detections"] = named_boxes(output.detections[of_video[0]], task)
        if output.decisions:
            row["decisions"] = {name: ran[of_video[0]].tolist() for name, ran in output.decisions.items()}
        row["gmacs"] = round(float(macs[of_video].sum()) / 1e9, 9)
        row["ms"] = round(1000 * seconds * len(of_video) / len(ids), 3)
        row["trace"] = {name: value[of_video[0]] for name, value in output.trace.items()}
        rows.append(row)
    return rows


def named_boxes(found: Mapping[str, Tensor], task: Task) -> list[dict[str, Any]]:
    """Return the detections of one row of a batch, each as ``frame``, ``class``, ``score`` and ``box``."""
    columns = (found[key].tolist() for key in ("frames", "labels", "scores", "boxes"))
    return [
        {"frame": frame, "class": task.classes[label], "score": round(score, 4), "box": box}
        for frame, label, score, box in zip(*columns, strict=True)
    ]


def top(scores: Tensor, task: Task) -> list[dict[str, Any]]:
    """The ``TOP`` best classes of [`video_scores`][vidcore.metrics.video_scores] (K,), each as ``class`` and ``score``.

    Scores are probabilities, and their order is that of the logits where the probabilities are equal by rounding. Those
    that are NaN come last.
    """
    order = scores.nan_to_num(nan=-torch.inf, neginf=-torch.inf).topk(min(TOP, task.num_classes)).indices
    return [
        {"class": task.classes[index], "score": round(score, 4)}
        for score, index in zip(probabilities(scores[order], task).tolist(), order.tolist(), strict=True)
    ]
