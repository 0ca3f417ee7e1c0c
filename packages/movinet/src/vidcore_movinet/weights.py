"""Published weights, and conversion of weights of the official TensorFlow code and of the PyTorch port."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
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
"""Activations of the released weights of stream networks."""
EARLIER = torch.tensor([1 / 6, 0], dtype=torch.float64)
"""Activations ([`MoViNet.get_extra_state`][vidcore_movinet.MoViNet.get_extra_state]) of files from before weights
contained them: 1/6 and hard swish."""

_OFFICIAL = "https://storage.googleapis.com/tf_model_garden/vision/movinet"
_PORT = "https://github.com/Atze00/MoViNet-pytorch/raw/c2d1edf48fc6c5259707f9d833f22171b4f63493/weights"

# Substitutions from vidcore's names to those of the official TensorFlow code, in order; "@" is a convolution.
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
# Further substitutions for networks with (2+1)D convolutions.
_RENAME_FACTORISED = (
    (r"feature/@/kernel$", "feature/conv2d/depthwise_conv2d/depthwise_kernel"),
    (r"temporal/@/kernel$", "feature/conv2d_temporal/depthwise_conv2d/depthwise_kernel"),
    (r"temporal/bn/", "feature/conv2d_temporal/bn_temporal/"),
    (r"@/", "conv2d/conv2d/"),
    (r"([a-z])/bn/", r"\1/conv2d/bn/"),
)


# Substitutions from vidcore's names to those of the PyTorch port Atze00/MoViNet-pytorch; "@" is a convolution.
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
    """Return the official code's name of an entry of vidcore's state dict, without the numbers that Keras appends."""
    for pattern, replacement in _RENAME + (_RENAME_FACTORISED if factorised else ()):
        name = re.sub(pattern, replacement, name)
    return name.replace("temporal/", "feature/").replace("@", "conv3d") if not factorised else name


def load_tensorflow_variables(net: MoViNet, variables: Mapping[str, np.ndarray]) -> None:
    """Copy the variables of the official TensorFlow MoViNet into a network.

    Args:
        net: Network of the same variant, kind (base or stream) and number of classes.
        variables: All variables of the official network by name without ``:0``, moving averages included; kernels in
            TensorFlow's order: (time,) height, width, input channels, output channels. The scalars of the positional
            encodings are all called ``scale`` in TensorFlow; here they are ``scale``, ``scale#1`` and so on, in the
            order of the layers.

    Raises:
        UserError: Variables are missing, unexpected or of the wrong shape. The message names the first five; nothing
            is copied.
    """
    positions = [name for name in net.state_dict() if name.endswith("se.position.scale")]
    names = {name: f"scale#{number}" if number else "scale" for number, name in enumerate(positions)}
    numbered = r"(conv[23]d|classifier_head)_\d+/"  # Keras numbers all but the first layer or model of a type
    variables = {re.sub(numbered, r"\1/", name): value for name, value in variables.items()}
    load_tensorflow(net, variables, lambda name: names.get(name) or tensorflow_name(name, net.factorised))


def load_port_state_dict(net: MoViNet, state_dict: Mapping[str, Tensor]) -> None:
    """Copy a state dict of the widely used PyTorch port Atze00/MoViNet-pytorch into a network.

    The port's stream weights are the released ones: a stream network gets their activations (``RELEASED``).

    Args:
        net: Network of the same variant, kind (base or stream) and number of classes.
        state_dict: State dict of the port, base or stream with (2+1)D convolutions.

    Raises:
        UserError: The weights are of a base network and ``net`` is a stream network or vice versa, or tensors are
            missing, unexpected or of the wrong shape. The message names the first five; nothing is copied.
    """
    _check_kind(any(".conv2d." in name for name in state_dict), net.factorised)
    tensors = {name: value for name, value in state_dict.items() if not name.endswith("num_batches_tracked")}
    load_named(net, tensors, lambda name: port_name(name, net), "tensors of the port")
    if net.stream:
        net.use_activations(**RELEASED)


def port_name(name: str, net: MoViNet) -> str:
    """Return the port's name of an entry of vidcore's state dict."""
    ours = name
    for pattern, replacement in _RENAME_PORT:
        name = re.sub(pattern, replacement, name)
    pooled = re.sub(r"skip\.project\..*", "skip.pool", ours) in dict(net.named_modules())
    name = name if pooled else name.replace(".res.1.", ".res.0.")
    return name.replace("@", "conv2d" if net.factorised else "conv3d")


@cache
def kinetics600() -> tuple[str, ...]:
    """Return the class names of Kinetics-600 in the order of the released classifiers, which is alphabetical."""
    return tuple(files("vidcore_movinet").joinpath("kinetics600.txt").read_text(encoding="utf-8").splitlines())


def published_weights(variant: str, stream: bool) -> dict[str, Weights]:
    """Return the released weights of a network by name.

    ``k600``: the PyTorch port's file if it exists, which does not require TensorFlow. ``k600_tf``: the official
    checkpoint from which it was converted. The publishers give no checksums; the URL of the port's file names a commit,
    so that its content cannot change.
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
    """Read a weights file of the official code, of the port or of vidcore as a state dict of vidcore.

    Args:
        path: File that ``vidcore.weights.tensorflow.read_variables`` or [`vidcore.weights.read_weights`][] reads.
        like: Network for which the weights are; the file can have another number of classes. TensorFlow's variables do
            not contain their activations: they get this network's. Files of vidcore without activations get
            ``EARLIER``.
        variant: Variant of the network.

    Raises:
        UserError: The file cannot be read, or holds the weights of another variant or kind.
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
    """Check that a state dict of vidcore has the expected kind: stream or base.

    Raises:
        UserError: It has the other kind; the message names ``--model.stream``.
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
    return MoViNet(config=replace(like.config, variant=variant, num_classes=classes))
