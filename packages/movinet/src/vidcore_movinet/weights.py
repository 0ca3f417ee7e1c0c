"""Weights from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from torch import nn

from vidcore.weights import load_tensorflow

# From our names to those of the official TensorFlow code, step by step.
_RENAME = (
    (r"^layers\.b(\d+)_l(\d+)\.scale$", r"block\1_layer\2/scale"),
    (r"^layers\.b(\d+)_l(\d+)\.", r"block\1_layer\2/bneck/"),
    (r"^stem\.", "stem/stem/"),
    (r"^project\.", "head/project/"),
    (r"^dense\.", "classifier_head/head/conv3d/"),
    (r"^classifier\.", "classifier_head/classifier/conv3d/"),
    (r"se\.(reduce|expand)\.", r"se/se_\1/conv3d/"),
    (r"skip\.project\.", "skip/skip_project/"),
    (r"\bconv\.", "conv3d/"),
    (r"bn\.weight$", "bn/gamma"),
    (r"bn\.bias$", "bn/beta"),
    (r"bn\.running_mean$", "bn/moving_mean"),
    (r"bn\.running_var$", "bn/moving_variance"),
    (r"weight$", "kernel"),
    (r"\.", "/"),
)


def tensorflow_name(name: str) -> str:
    """The official code's name of what our state dict calls ``name``."""
    for pattern, replacement in _RENAME:
        name = re.sub(pattern, replacement, name)
    return name


def load_tensorflow_variables(net: nn.Module, variables: Mapping[str, np.ndarray]) -> None:
    """Copies the variables of the official TensorFlow MoViNet into ours.

    Args:
        net: The network, e.g. :class:`~vidcore_movinet.network.MoViNet`, of the same variant and number of classes.
        variables: All of the official base network's variables by name, moving averages included, without ``:0``;
            kernels in TensorFlow's order: time, height, width, in, out (in = 1 where depthwise).

    Raises:
        UserError: Missing, unexpected or wrongly shaped variables; all are named, and nothing is copied.
    """
    load_tensorflow(net, variables, tensorflow_name)
