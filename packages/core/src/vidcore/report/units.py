"""Format metrics: accuracy as percentage; compute, time and memory with units."""

from __future__ import annotations

import math

ACCURACY = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class accuracy", "map": "mAP", "map50": "mAP at 0.5"}
"""Display names of metrics that are fractions in [0, 1]."""

COST = {
    "gmacs": ("compute per video", "GMACs"),
    "ms": ("time per video", "ms"),
    "peak_memory_mb": ("peak memory", "MB"),
}
"""Display name and unit of the other metrics of a test."""


def is_accuracy(metric: str) -> bool:
    """Return whether metric ``split/name`` is a fraction that is shown as a percentage."""
    return metric.rpartition("/")[2] in ACCURACY


def called(metric: str) -> str:
    """Return the display name of a metric such as ``test/top1``."""
    name = metric.rpartition("/")[2]
    return ACCURACY.get(name) or COST.get(name, (name, ""))[0]


def written(metric: str, value: float) -> str:
    """Format the value of metric ``split/name`` with its unit, with three or four digits."""
    name = metric.rpartition("/")[2]
    if math.isnan(value):
        return "unknown"
    if name in ACCURACY:
        return f"{100 * value:.1f} %"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{number} {COST[name][1]}" if name in COST else number
