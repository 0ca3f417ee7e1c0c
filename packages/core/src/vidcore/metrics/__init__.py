"""Metrics: accuracy of videos, average precision of detections."""

from vidcore.metrics.classification import (
    MAIN_METRIC,
    ClassificationMetrics,
    average_precision,
    probabilities,
    video_scores,
)
from vidcore.metrics.detection import DetectionMetrics, per_frame

__all__ = [
    "MAIN_METRIC",
    "ClassificationMetrics",
    "DetectionMetrics",
    "average_precision",
    "per_frame",
    "probabilities",
    "video_scores",
]
