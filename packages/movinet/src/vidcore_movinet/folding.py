"""Folding for inference: the same network in fewer and larger steps, which nothing can train any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from vidcore.nn import ConvNorm
from vidcore_movinet.layers import Bottleneck
from vidcore_movinet.stream import CausalConvNorm, ImageConv, ImageConvNorm, StreamBottleneck

if TYPE_CHECKING:
    from vidcore_movinet.network import MoViNet


@torch.no_grad()
def fold(net: MoViNet) -> None:
    """Folds a network in eval mode, in its place."""
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ImageConvNorm):
                setattr(parent, name, fold_image_norm(child))
            elif isinstance(child, (ConvNorm, CausalConvNorm)):
                fold_norm(child)
    for layer in net.layers:
        fold_scale(layer)  # type: ignore[arg-type]
    if net.stream:
        fold_biases(net)
    net.requires_grad_(False)


def fold_image_norm(module: ImageConvNorm) -> ImageConv:
    """The convolution alone, with batch normalisation in its weights and the activation behind it."""
    conv = fuse_conv_bn_eval(module.conv, module.bn)
    conv.act = module.act
    # Or a compiled network would transpose what it sees.
    return conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fold_norm(module: ConvNorm | CausalConvNorm) -> None:
    """Moves batch normalisation into the convolution's weights."""
    module.conv = fuse_conv_bn_eval(module.conv, module.bn)  # type: ignore[type-var,arg-type]
    module.bn = nn.Identity()  # type: ignore[assignment]
    if isinstance(module, CausalConvNorm) and module.conv.kernel_size[1] == 1:  # laid out as `one_frame` reads it
        weight = module.conv.weight
        weight.data = weight.flatten(1).t().contiguous().t().view_as(weight)


def fold_scale(layer: Bottleneck | StreamBottleneck) -> None:
    """Moves the learned scale into the weights of the projection."""
    for parameter in layer.projection.parameters():
        parameter.mul_(layer.scale)
    layer.scale = None  # type: ignore[assignment]


def fold_biases(net: MoViNet) -> None:
    """Moves the biases of a stream network's projections and skip connections to where their sums are read.

    What is added to all pixels of a channel passes a pool as it is, and a convolution of one pixel as an addition to
    its own bias. Nothing else reads what the skip connections carry: each layer's expansion, the next skip connection
    and, at the end, ``net.project``.
    """
    layers: Iterable[Any] = net.layers
    stem: Any = net.stem
    head: Any = net.project
    missing = stem.bias.new_zeros(stem.out_channels)
    for layer in layers:
        layer.expansion.bias += through(missing, layer.expansion)
        if "project" in layer.skip._modules:
            shortcut = layer.skip.project
            missing, shortcut.bias = through(missing, shortcut) + shortcut.bias, None
        projection = layer.projection
        missing, projection.bias = missing + projection.bias, None
    head.bias += through(missing, head)


def through(constant: Tensor, conv: nn.Conv2d) -> Tensor:
    """What a constant (C,), added to each pixel, adds behind a convolution of one pixel."""
    return conv.weight.flatten(1) @ constant
