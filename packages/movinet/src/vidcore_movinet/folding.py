"""Folding for inference: the same network in fewer and larger steps, which nothing can train any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from vidcore.nn import ConvNorm
from vidcore_movinet.layers import Bottleneck
from vidcore_movinet.stream import CausalConvNorm, ImageConvNorm, StreamBottleneck

if TYPE_CHECKING:
    from vidcore_movinet.network import MoViNet


@torch.no_grad()
def fold(net: MoViNet) -> None:
    """Folds a network in eval mode, in its place."""
    for module in net.modules():
        if isinstance(module, (ConvNorm, ImageConvNorm, CausalConvNorm)):
            fold_norm(module)
    for layer in net.layers:
        fold_scale(layer)  # type: ignore[arg-type]
    if net.stream:
        fold_biases(net)
    net.requires_grad_(False)


def fold_norm(module: ConvNorm | ImageConvNorm | CausalConvNorm) -> None:
    """Moves batch normalisation into the convolution's weights, and lays them out as they are read."""
    module.conv = fuse_conv_bn_eval(module.conv, module.bn)  # type: ignore[type-var,arg-type]
    module.bn = nn.Identity()  # type: ignore[assignment]
    weight = module.conv.weight
    if isinstance(module, ImageConvNorm):  # or a compiled network would transpose what its convolutions see
        weight.data = weight.contiguous(memory_format=torch.channels_last)
    elif isinstance(module, CausalConvNorm) and module.conv.kernel_size[1] == 1:  # `one_frame` reads frame by frame
        weight.data = weight.flatten(1).t().contiguous().t().view_as(weight)


def fold_scale(layer: Bottleneck | StreamBottleneck) -> None:
    """Moves the learned scale into the weights of the projection."""
    for parameter in layer.projection.conv.parameters():
        parameter.mul_(layer.scale)
    layer.scale = None  # type: ignore[assignment]


def fold_biases(net: MoViNet) -> None:
    """Moves the biases of a stream network's projections and skip connections to where their sums are read.

    What is added to all pixels of a channel passes a pool as it is, and a convolution of one pixel as an addition to
    its own bias. Nothing else reads what the skip connections carry: each layer's expansion, the next skip connection
    and, at the end, ``net.project``.
    """
    layers: Iterable[Any] = net.layers
    head: Any = net.project
    missing = net.dense.weight.new_zeros(net.stem.conv.out_channels)
    for layer in layers:
        layer.expansion.conv.bias += through(missing, layer.expansion.conv)
        if "project" in layer.skip._modules:
            shortcut = layer.skip.project.conv
            missing, shortcut.bias = through(missing, shortcut) + shortcut.bias, None
        projection = layer.projection.conv
        missing, projection.bias = missing + projection.bias, None
    head.conv.bias += through(missing, head.conv)


def through(constant: Tensor, conv: nn.Conv2d) -> Tensor:
    """What a constant (C,), added to each pixel, adds behind a convolution of one pixel."""
    return conv.weight.flatten(1) @ constant
