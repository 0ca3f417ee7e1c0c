"""How figures are written: accuracy as a percentage, cost, time and memory with their units."""

from __future__ import annotations

import math

ACCURACY = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class accuracy", "map": "mAP", "map50": "mAP at 0.5"}
"""Metrics that are fractions in [0, 1], and what they are called."""

COST = {
    "gmacs": ("compute a video", "GMACs"),
    "ms": ("time a video", "ms"),
    "peak_memory_mb": ("peak memory", "MB"),
}
"""What else a test measures: what it is called, and its unit."""


def is_accuracy(metric: str) -> bool:
    """Whether ``split/name`` is a fraction that is shown as a percentage."""
    return metric.rpartition("/")[2] in ACCURACY


def called(metric: str) -> str:
    """``test/top1`` as a reader would say it."""
    name = metric.rpartition("/")[2]
    return ACCURACY.get(name) or COST.get(name, (name, ""))[0]


def written(metric: str, value: float) -> str:
    """The value of ``split/name`` with its unit; three or four digits are enough to read."""
    name = metric.rpartition("/")[2]
    if math.isnan(value):
        return "unknown"
    if name in ACCURACY:
        return f"{100 * value:.1f} %"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{number} {COST[name][1]}" if name in COST else number
