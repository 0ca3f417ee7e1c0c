"""Weights from elsewhere: released, or trained with the official code or with the PyTorch port."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidcore.errors import UserError
from vidcore.weights import Weights, read_weights
from vidcore.weights.foreign import load_named
from vidcore.weights.tensorflow import is_tensorflow, load_tensorflow, read_variables
from vidcore_movinet.network import MoViNet
from vidcore_movinet.variants import VARIANTS

RELEASED: dict[str, Any] = {"gate_slope": 0.2, "head": "swish"}
"""Activations of the released stream weights."""
EARLIER = torch.tensor([1 / 6, 0], dtype=torch.float64)
"""Extra state (:meth:`MoViNet.get_extra_state`) of weights that were saved before they said it themselves."""

_OFFICIAL = "https://storage.googleapis.com/tf_model_garden/vision/movinet"
_PORT = "https://github.com/Atze00/MoViNet-pytorch/raw/c2d1edf48fc6c5259707f9d833f22171b4f63493/weights"

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
        UserError: Missing, unexpected or wrongly shaped variables; the first five are named, and nothing is copied.
    """
    positions = [name for name in net.state_dict() if name.endswith("se.position.scale")]
    names = {name: f"scale#{number}" if number else "scale" for number, name in enumerate(positions)}
    numbered = r"(conv[23]d|classifier_head)_\d+/"  # by Keras, where a layer or a model is not the first of its kind
    variables = {re.sub(numbered, r"\1/", name): value for name, value in variables.items()}
    load_tensorflow(net, variables, lambda name: names.get(name) or tensorflow_name(name, net.factorised))


def load_port_state_dict(net: MoViNet, state_dict: Mapping[str, Tensor]) -> None:
    """Copies a state dict of the widely used PyTorch port, Atze00/MoViNet-pytorch, into ours.

    Its stream weights are the released ones, so a stream network gets their activations (:data:`RELEASED`).

    Args:
        net: The network, of the same variant and number of classes, base or stream as the weights are.
        state_dict: The port's, base or stream ((2+1)D).

    Raises:
        UserError: Weights of a base network for a stream network or the other way round; missing, unexpected or wrongly
            shaped tensors, the first five of which are named. Nothing is copied.
    """
    _check_kind(any(".conv2d." in name for name in state_dict), net.factorised)
    tensors = {name: value for name, value in state_dict.items() if not name.endswith("num_batches_tracked")}
    load_named(net, tensors, lambda name: port_name(name, net), "tensors of the port")
    if net.stream:
        net.use_activations(**RELEASED)


def port_name(name: str, net: MoViNet) -> str:
    """The port's name of what our state dict calls ``name``."""
    ours = name
    for pattern, replacement in _RENAME_PORT:
        name = re.sub(pattern, replacement, name)
    pooled = re.sub(r"skip\.project\..*", "skip.pool", ours) in dict(net.named_modules())
    name = name if pooled else name.replace(".res.1.", ".res.0.")
    return name.replace("@", "conv2d" if net.factorised else "conv3d")


@cache
def kinetics600() -> tuple[str, ...]:
    """Kinetics-600's classes in the order of the released classifiers, which is the alphabet's."""
    return tuple(files("vidcore_movinet").joinpath("kinetics600.txt").read_text(encoding="utf-8").splitlines())


def published_weights(variant: str, stream: bool) -> dict[str, Weights]:
    """The released weights of a network by name.

    ``k600``: the PyTorch port's file where there is one, so that TensorFlow need not be installed; ``k600_tf``: the
    official checkpoint that it was made from. Neither publisher gives checksums; the port's address names
    a commit, which fixes the file.
    """
    spec = VARIANTS[variant]
    if spec.top1 is None or variant == "t0":
        return {}
    kind = "stream" if stream else "base"
    top1 = spec.stream_top1 if stream else spec.top1
    metrics = {"top1": top1, "gmacs": spec.gflops}

    def record(url: str) -> Weights:
        known = {name: value for name, value in metrics.items() if value is not None}
        return Weights(url, "", kinetics600(), spec.clip_spec, known, RELEASED if stream else {})

    official = record(f"{_OFFICIAL}/movinet_{variant}_{kind}.tar.gz")
    if stream and variant not in ("a0", "a1", "a2"):
        return {"k600": official}
    port = record(f"{_PORT}/model{variant.upper()}{'_stream' if stream else ''}_statedict_v3")
    return {"k600": port, "k600_tf": official}


def read_foreign(path: str | Path, like: MoViNet, variant: str) -> dict[str, Tensor]:
    """A weights file of the official code, of the port or of ours, as a state dict of ours.

    Args:
        path: What :func:`vidcore.weights.tensorflow.read_variables` or :func:`vidcore.weights.read_weights` reads.
        like: The network that they are for; theirs may have another number of classes. TensorFlow's variables do not
            say with which activations they were trained: they get this network's. Files of ours from before there was
            a choice were trained with gates of slope 1/6 and hard swish in the head.
        variant: This network's.

    Raises:
        UserError: The file is unreadable, or of another variant or kind.
    """
    if is_tensorflow(path):
        variables = read_variables(path)
        _check_kind(any("conv2d" in name for name in variables), like.factorised)
        biases = [
            value for name, value in variables.items() if re.match(r"classifier_head(_\d+)?/classifier/.*bias", name)
        ]
        net = _empty(like, variant, len(biases[0]) if biases else like.classifier.out_features)
        load_tensorflow_variables(net, variables)
        return net.state_dict()
    tensors = read_weights(path)
    if "classifier.0.conv_1.conv2d.weight" not in tensors and "classifier.0.conv_1.conv3d.weight" not in tensors:
        check_own_kind(tensors, like.stream)
        tensors = {name.removeprefix("net."): value for name, value in tensors.items()}
        return {"_extra_state": EARLIER.clone(), **tensors}
    bias = next(value for name, value in tensors.items() if re.match(r"classifier\.3\.conv_1\.conv[23]d\.bias", name))
    net = _empty(like, variant, len(bias))
    load_port_state_dict(net, tensors)
    return net.state_dict()


def check_own_kind(tensors: Mapping[str, Tensor], stream: bool) -> None:
    """Check that tensors of our own networks are of a stream network, or of a base network.

    Raises:
        UserError: They are of the other kind; the text names ``--model.stream``.
    """
    stem = next((value for name, value in tensors.items() if name.endswith("stem.conv.weight")), None)
    if stem is not None and stem.dim() in (4, 5):
        _check_kind(stem.dim() == 4, stream)


def _check_kind(theirs: bool, ours: bool) -> None:
    if theirs != ours:
        kinds = ("base", "stream")
        raise UserError(
            f"weights of a {kinds[theirs]} network do not fit a {kinds[ours]} network: "
            f"set --model.stream {str(theirs).lower()}"
        )


def _empty(like: MoViNet, variant: str, classes: int) -> MoViNet:
    return MoViNet(variant, classes, like.stream, gate_slope=like.gate_slope, head=like.head)
