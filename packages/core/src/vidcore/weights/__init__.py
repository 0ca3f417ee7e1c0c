"""Weights: published ones, files of other frameworks, checkpoints."""

from vidcore.weights.published import Weights, load_safely, not_plain, other_classifier, read_weights, reason_of

__all__ = ["Weights", "load_safely", "not_plain", "other_classifier", "read_weights", "reason_of"]
