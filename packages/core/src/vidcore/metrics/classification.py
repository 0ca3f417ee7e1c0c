"""Accuracy of videos, each counted once however many views or processes saw it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision, multiclass_accuracy
from torchmetrics.utilities import dim_zero_cat

from vidcore.batch import id_hash
from vidcore.task import Task

MAIN_METRIC = {"single_label": "top1", "multi_label": "map", "detection": "map"}
"""By task kind, the metric that decides which checkpoint is the best."""


def video_scores(logits: Tensor, task: Task, videos: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Average the probabilities of each video's views, in a form that keeps the order of saturated probabilities.

    Probabilities of float32 round to 1 from a logit of 17 on, so that ranking by them would find ties. Their logarithm
    (``single_label``) or log-odds (``multi_label``; of a single view these are its logits) rank equally and do not
    saturate. [`probabilities`][vidcore.metrics.probabilities] converts the result, which can itself be averaged again
    as logits.

    Args:
        logits: (N, K) of N views, any floating-point dtype.
        task: What is predicted.
        videos: (N,) int64, for each view the index of its video in [0, V). Default: all are views of one video.
        weights: (N,), of each view in the mean; those of a video sum to 1. Default: equal weights.

    Returns:
        (V, K) float64: log(p) or log(p / (1 - p)), where p is the mean probability of the video's views. NaN in a
        view's logits makes NaN.
    """
    limit = torch.finfo(torch.float32).max  # infinite logits, as float16 has from 65,520 on, count as very large
    logits = logits.double().clamp(-limit, limit)
    if videos is None:
        videos = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    counts = videos.bincount()
    weights = 1 / counts.double()[videos] if weights is None else weights.to(logits)
    log_weights = weights.log()[:, None]
    if task.kind == "single_label":
        return _logsumexp(logits.log_softmax(-1) + log_weights, videos, len(counts))
    # The mean of p over the mean of 1 - p, where p = (1 - p) · exp(logit).
    complements = F.logsigmoid(-logits) + log_weights
    shares = complements - _logsumexp(complements, videos, len(counts))[videos]
    return _logsumexp(logits + shares, videos, len(counts))


def probabilities(scores: Tensor, task: Task) -> Tensor:
    """From [`video_scores`][vidcore.metrics.video_scores] (..., K) to float32 probabilities in [0, 1]."""
    return (scores.exp() if task.kind == "single_label" else scores.sigmoid()).float()


def average_precision(scores: Tensor, target: Tensor) -> Tensor:
    """Compute the average precision of each class from scores of any range, without a tie that they do not have.

    Args:
        scores: (N, K), higher for the likelier.
        target: (N, K), 0 or 1.

    Returns:
        (K,) float32 in [0, 1]; NaN for a class without a positive, and for one with a score of NaN.
    """
    # torchmetrics applies a sigmoid to scores outside [0, 1]; ranks in [0, 1) have the same order.
    distinct, ranks = scores.unique(return_inverse=True)
    ranks, target = ranks.double() / len(distinct), target.long()
    each = torch.full((scores.shape[1],), torch.nan, device=scores.device)
    for index in ((target.sum(0) > 0) & ~scores.isnan().any(0)).nonzero()[:, 0].tolist():
        each[index] = binary_average_precision(ranks[:, index], target[:, index])
    return each


def _logsumexp(values: Tensor, groups: Tensor, number: int) -> Tensor:
    """Logarithm of the sum of exp(``values``) (N, K) over the rows of each of ``number`` groups (N,), (number, K)."""
    highest = values.new_full((number, values.shape[1]), -torch.inf)
    highest = highest.scatter_reduce(0, groups[:, None].expand_as(values), values, "amax")
    return highest + torch.zeros_like(highest).index_add(0, groups, (values - highest[groups]).exp()).log()


class ClassificationMetrics(Metric):
    """Top-1, top-5 and mean class accuracy, or mean average precision where several classes may hold.

    The probabilities of a video's views are averaged before they are judged, across processes too; a video that a
    distributed sampler repeats to fill a batch counts once. Videos and classes are ranked by
    [`video_scores`][vidcore.metrics.video_scores], which do not saturate.

    ``compute`` returns fractions in [0, 1]: ``top1``, ``top5`` (with more than five classes) and ``mean_class`` (mean
    over the classes that occur of the accuracy within each), or ``map``; NaN where any logit is NaN.
    """

    ids: list[Tensor]
    logits: list[Tensor]
    targets: list[Tensor]
    judged: tuple[Tensor, Tensor] | None = None
    """After ``compute``: [`video_scores`][vidcore.metrics.video_scores] (N, K) and the targets of the N videos that it
    judged, for reports."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.add_state("ids", default=[], dist_reduce_fx="cat")
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        super().reset()
        # Typed, since torchmetrics gathers an empty list as float32: a process without rows would break the others.
        classes, single = self.task.num_classes, self.task.kind == "single_label"
        self.ids.append(torch.zeros(0, dtype=torch.int64, device=self.device))
        self.logits.append(torch.zeros(0, classes, device=self.device))
        self.targets.append(
            torch.zeros(0, dtype=torch.int64, device=self.device)
            if single
            else torch.zeros(0, classes, device=self.device)
        )

    def update(self, logits: Tensor, target: Tensor, ids: Sequence[str]) -> None:
        """Adds B rows: ``logits`` (B, K), ``target`` (B,) int64 or (B, K), and the ``ids`` of their videos."""
        self.ids.append(torch.tensor([id_hash(video_id) for video_id in ids], device=logits.device))
        self.logits.append(logits.detach().float())
        self.targets.append(target.detach())

    def compute(self) -> dict[str, Tensor]:
        """The metrics over all videos so far; none where there was no video."""
        if not len(dim_zero_cat(self.ids)):
            return {}
        distinct, videos = dim_zero_cat(self.ids).unique(return_inverse=True)
        scores = video_scores(dim_zero_cat(self.logits), self.task, videos)
        rows = torch.arange(len(videos), device=videos.device)
        first = torch.full_like(distinct, len(videos)).scatter_reduce(0, videos, rows, "amin")
        target = dim_zero_cat(self.targets)[first]
        self.judged = (scores, target)
        classes = self.task.num_classes
        unknown = scores.isnan().any()  # no number would be true of a video that the model has no answer for
        if self.task.kind == "multi_label":
            # Classes without a positive have no average precision; they are left out of the mean.
            each = average_precision(scores, target)[target.sum(0) > 0]
            return {"map": each.mean().where(~unknown, torch.nan)}
        hits = scores.argmax(-1) == target
        metrics = {
            "top1": hits.float().mean(),
            "mean_class": torch.stack([hits[target == index].float().mean() for index in target.unique()]).mean(),
        }
        if classes > 5:
            metrics["top5"] = multiclass_accuracy(scores, target, classes, average="micro", top_k=5)
        return {name: value.where(~unknown, torch.nan) for name, value in metrics.items()}
