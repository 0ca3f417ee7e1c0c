"""Conversion of weights trained with the official TensorFlow code; no weights were published."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vidcore.weights.tensorflow import load_tensorflow
from vidcore_resnet_rs.layers import Bottleneck
from vidcore_resnet_rs.network import ResNetRS3D

# Keras numbers the layers of one type within the stem and within each bottleneck.
_UNITS = {
    "stem.0": "",
    "stem.1": "_1",
    "stem.2": "_2",
    "shortcut": "",
    "temporal": "_1",
    "spatial": "_2",
    "pointwise": "_3",
}
_LAYERS = {
    **{f"{unit}.conv": f"conv3d{number}" for unit, number in _UNITS.items()},
    **{f"{unit}.bn": f"batch_normalization{number}" for unit, number in _UNITS.items()},
    "attention.se.reduce": "squeeze_excitation/conv2d",
    "attention.se.expand": "squeeze_excitation/conv2d_1",
    "attention.gating.linear": "self_gating/conv3d_4",
    "classifier": "dense",
}
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_OTHER = {"weight": "kernel", "bias": "bias"}


def load_tensorflow_variables(net: ResNetRS3D, variables: Mapping[str, np.ndarray]) -> None:
    """Copy the variables of the official TensorFlow 3D ResNet-RS into a network.

    Args:
        net: Network with the same depth, options and number of classes.
        variables: All variables of the official network by name without ``:0``, moving averages included; kernels in
            TensorFlow's order: time, height, width, input channels, output channels.

    Raises:
        UserError: Variables are missing, unexpected or of the wrong shape. The message names the first five; nothing
            is copied.
    """
    bottlenecks = [name for name, module in net.named_modules() if isinstance(module, Bottleneck)]

    def official(name: str) -> str:
        place = ""
        if name.startswith("stages."):
            stage, block, name = name.removeprefix("stages.").split(".", 2)
            number = bottlenecks.index(f"stages.{stage}.{block}")
            place = f"bottleneck_block3d_{number}/" if number else "bottleneck_block3d/"
        layer, leaf = name.rsplit(".", 1)
        return f"{place}{_LAYERS[layer]}/{(_NORM if layer.endswith('.bn') else _OTHER)[leaf]}"

    load_tensorflow(net, variables, official)
