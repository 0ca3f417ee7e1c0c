"""Weights from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from vidcore.errors import UserError
from vidcore.weights import load_named, load_tensorflow
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


# From our names to those of the widely used PyTorch port, Atze00/MoViNet-pytorch; "@" is what it calls a convolution.
_RENAME_PORT = (
    (r"^layers\.", "blocks."),
    (r"^stem\.", "conv1.conv_1."),
    (r"^project\.", "conv7.conv_1."),
    (r"^dense\.", "classifier.0.conv_1.@."),
    (r"^classifier\.(weight|bias)$", r"classifier.3.conv_1.@.\1"),
    (r"\.scale$", ".alpha"),
    (r"\.expansion\.", ".expand.conv_1."),
    (r"\.feature\.", ".deep.conv_1."),
    (r"\.temporal\.", ".deep.conv_2."),
    (r"\.projection\.", ".project.conv_1."),
    (r"\.se\.reduce\.", ".se.fc1.conv_1.@."),
    (r"\.se\.expand\.", ".se.fc2.conv_1.@."),
    (r"\.skip\.project\.", ".res.1.conv_1."),
    (r"\.conv\.", ".@."),
    (r"\.bn\.", ".norm."),
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


def load_port_state_dict(net: MoViNet, state_dict: Mapping[str, Tensor]) -> None:
    """Copies a state dict of the widely used PyTorch port, Atze00/MoViNet-pytorch, into ours.

    Its stream weights are the released ones, so a stream network gets the activations that these want.

    Args:
        net: The network, of the same variant and number of classes, base or stream as the weights are.
        state_dict: The port's, base or stream ((2+1)D).

    Raises:
        UserError: Weights of a base network for a stream network or the other way round; missing, unexpected or wrongly
            shaped tensors, all of which are named. Nothing is copied.
    """
    theirs = any(".conv2d." in name for name in state_dict)
    if theirs != net.factorised:
        kinds = ("base", "stream")
        raise UserError(f"weights of a {kinds[theirs]} network do not fit a {kinds[net.stream]} network")
    tensors = {name: value for name, value in state_dict.items() if not name.endswith("num_batches_tracked")}
    load_named(net, tensors, lambda name: port_name(name, net), "tensors of the port")
    if net.stream:
        net.use_released_activations()


def port_name(name: str, net: MoViNet) -> str:
    """The port's name of what our state dict calls ``name``."""
    ours = name
    for pattern, replacement in _RENAME_PORT:
        name = re.sub(pattern, replacement, name)
    pooled = re.sub(r"skip\.project\..*", "skip.pool", ours) in dict(net.named_modules())
    name = name if pooled else name.replace(".res.1.", ".res.0.")
    return name.replace("@", "conv2d" if net.factorised else "conv3d")
