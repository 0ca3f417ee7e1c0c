"""Accuracy of videos, each counted once however many views or processes saw it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_accuracy, multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat

from vidcore.batch import id_hash
from vidcore.distributed import gathered
from vidcore.errors import UserError
from vidcore.task import Task

_Boxes = dict[str, Tensor]

MAIN_METRIC = {"single_label": "top1", "multi_label": "map", "detection": "map"}
"""By task kind, the metric that decides which checkpoint is the best."""


def scores_of(logits: Tensor, task: Task) -> Tensor:
    """(..., K) logits as scores in [0, 1]: softmax where one class holds, sigmoid where several may."""
    return logits.float().softmax(-1) if task.kind == "single_label" else logits.float().sigmoid()


def average_by_id(ids: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of ``values`` (N, ...) over equal ``ids`` (N,), and where in N each distinct id stands first."""
    distinct, inverse, counts = ids.unique(return_inverse=True, return_counts=True)
    total = torch.zeros(len(distinct), *values.shape[1:], device=values.device, dtype=values.dtype)
    total.index_add_(0, inverse, values)
    first = torch.full((len(distinct),), len(ids), device=ids.device).scatter_reduce(
        0, inverse, torch.arange(len(ids), device=ids.device), "amin"
    )
    return total / counts.reshape(-1, *[1] * (values.dim() - 1)), first


class ClassificationMetrics(Metric):
    """Top-1, top-5 and mean class accuracy, or mean average precision where several classes may hold.

    The scores of a video's views are averaged before they are judged, across processes too; a video that a distributed
    sampler repeats to fill a batch counts once.

    ``compute`` returns fractions in [0, 1]: ``top1``, ``top5`` (with more than five classes) and ``mean_class`` (mean
    over the classes that occur of the accuracy within each), or ``map``.
    """

    ids: list[Tensor]
    scores: list[Tensor]
    targets: list[Tensor]
    judged: tuple[Tensor, Tensor] | None = None
    """After ``compute``: the scores (N, K) and the targets of the N videos that it judged, for reports."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.add_state("ids", default=[], dist_reduce_fx="cat")
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        super().reset()
        # Typed, since torchmetrics gathers an empty list as float32: a process without rows would break the others.
        classes, single = self.task.num_classes, self.task.kind == "single_label"
        self.ids.append(torch.zeros(0, dtype=torch.int64, device=self.device))
        self.scores.append(torch.zeros(0, classes, device=self.device))
        self.targets.append(
            torch.zeros(0, dtype=torch.int64, device=self.device)
            if single
            else torch.zeros(0, classes, device=self.device)
        )

    def update(self, logits: Tensor, target: Tensor, ids: Sequence[str]) -> None:
        """Adds B rows: ``logits`` (B, K), ``target`` (B,) int64 or (B, K), and the ``ids`` of their videos."""
        self.ids.append(torch.tensor([id_hash(video_id) for video_id in ids], device=logits.device))
        self.scores.append(scores_of(logits.detach(), self.task))
        self.targets.append(target.detach())

    def compute(self) -> dict[str, Tensor]:
        """The metrics over all videos so far; none where there was no video."""
        if not len(dim_zero_cat(self.ids)):
            return {}
        scores, first = average_by_id(dim_zero_cat(self.ids), dim_zero_cat(self.scores))
        target = dim_zero_cat(self.targets)[first]
        self.judged = (scores, target)
        classes = self.task.num_classes
        if self.task.kind == "multi_label":
            # Classes without a positive have no average precision; they are left out of the mean.
            each = multilabel_average_precision(scores, target.long(), classes, average="none")
            return {"map": each[target.sum(0) > 0].mean()}
        hits = scores.argmax(-1) == target
        metrics = {
            "top1": hits.float().mean(),
            "mean_class": torch.stack([hits[target == index].float().mean() for index in target.unique()]).mean(),
        }
        if classes > 5:
            metrics["top5"] = multiclass_accuracy(scores, target, classes, average="micro", top_k=5)
        return metrics


class DetectionMetrics(Metric):
    """COCO mean average precision over every frame of every clip, through torchmetrics.

    ``compute`` returns ``map`` (IoU 0.50 to 0.95) and ``map50``, fractions in [0, 1].

    Raises:
        UserError: No backend is installed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clips: list[tuple[list[_Boxes], list[_Boxes]]] = []
        self._average_precision()

    def update(self, detections: Sequence[_Boxes], target: Sequence[_Boxes], frames: int) -> None:
        """Adds clips of ``frames`` frames: detections and targets as in ``Output`` and ``Batch``."""
        for found, true in zip(detections, target, strict=True):
            self.clips.append((per_frame(found, frames), per_frame(true, frames)))

    def compute(self) -> dict[str, Tensor]:
        """The metrics over all frames so far, of all processes; none where there was no clip."""
        # Not through torchmetrics, which waits for ever where processes have unequally many frames.
        clips = [clip for part in gathered(self.clips) for clip in part]
        if not clips:
            return {}
        metric = self._average_precision()
        for found, true in clips:
            metric.update(found, true)
        result: dict[str, Any] = metric.compute()
        return {"map": result["map"], "map50": result["map_50"]}

    def reset(self) -> None:
        """Forgets everything."""
        super().reset()
        self.clips = []

    def _average_precision(self) -> Metric:
        from torchmetrics.detection import MeanAveragePrecision

        try:
            return MeanAveragePrecision(backend="faster_coco_eval", sync_on_compute=False)  # type: ignore[arg-type]
        except ModuleNotFoundError as error:
            raise UserError('detection needs a COCO backend: pip install "vidcore[detection]"') from error


def per_frame(boxes: _Boxes, frames: int) -> list[_Boxes]:
    """A clip's boxes as torchvision has them, one dict a frame."""
    return [
        {name: value[boxes["frames"] == frame].cpu() for name, value in boxes.items() if name != "frames"}
        for frame in range(frames)
    ]
