"""Weights from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from vidcore.weights import load_tensorflow
from vidcore_movinet.network import MoViNet

# From our names to those of the official TensorFlow code, step by step; "@" is what it calls a convolution.
_RENAME = (
    (r"^layers\.b(\d+)_l(\d+)\.scale$", r"block\1_layer\2/scale"),
    (r"^layers\.b(\d+)_l(\d+)\.", r"block\1_layer\2/bneck/"),
    (r"^stem\.", "stem/stem/"),
    (r"^project\.", "head/project/"),
    (r"^dense\.", "classifier_head/head/@/"),
    (r"^classifier\.", "classifier_head/classifier/@/"),
    (r"se\.(reduce|expand)\.", r"se/se_\1/@/"),
    (r"skip\.project\.", "skip/skip_project/"),
    (r"\bconv\.", "@/"),
    (r"bn\.weight$", "bn/gamma"),
    (r"bn\.bias$", "bn/beta"),
    (r"bn\.running_mean$", "bn/moving_mean"),
    (r"bn\.running_var$", "bn/moving_variance"),
    (r"weight$", "kernel"),
    (r"\.", "/"),
)
# Of a network with (2+1)D convolutions, further.
_RENAME_FACTORISED = (
    (r"feature/@/kernel$", "feature/conv2d/depthwise_conv2d/depthwise_kernel"),
    (r"temporal/@/kernel$", "feature/conv2d_temporal/depthwise_conv2d/depthwise_kernel"),
    (r"temporal/bn/", "feature/conv2d_temporal/bn_temporal/"),
    (r"@/", "conv2d/conv2d/"),
    (r"([a-z])/bn/", r"\1/conv2d/bn/"),
)


def tensorflow_name(name: str, factorised: bool = False) -> str:
    """The official code's name of what our state dict calls ``name``, without the numbers that Keras appends."""
    for pattern, replacement in _RENAME + (_RENAME_FACTORISED if factorised else ()):
        name = re.sub(pattern, replacement, name)
    return name.replace("temporal/", "feature/").replace("@", "conv3d") if not factorised else name


def load_tensorflow_variables(net: MoViNet, variables: Mapping[str, np.ndarray]) -> None:
    """Copies the variables of the official TensorFlow MoViNet into ours.

    Args:
        net: The network, of the same variant and number of classes, base or stream as the variables are.
        variables: All of the official network's variables by name, moving averages included, without ``:0``; kernels in
            TensorFlow's order: (time,) height, width, in, out. The scalars of the positional encodings, all of which
            are called ``scale`` there, are ``scale``, ``scale#1`` … in the order of the layers.

    Raises:
        UserError: Missing, unexpected or wrongly shaped variables; all are named, and nothing is copied.
    """
    positions = [name for name in net.state_dict() if name.endswith("se.position.scale")]
    names = {name: f"scale#{number}" if number else "scale" for number, name in enumerate(positions)}
    variables = {re.sub(r"(conv[23]d)_\d+/", r"\1/", name): value for name, value in variables.items()}
    load_tensorflow(net, variables, lambda name: names.get(name) or tensorflow_name(name, net.factorised))
