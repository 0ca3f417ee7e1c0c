"""The folded form of MoViNet for inference: the same outputs in fewer and faster operations; it cannot be trained.

Batch normalisation and the learned scalars are merged into the weights of the convolutions. In stream networks, 1×1
convolutions are matrix products (the channels are last), activations and additions work in place, a temporal
convolution of one frame copies no buffer, and the biases of projections and skip connections are moved into the next
convolutions. Without merged weights [`layers`][vidcore_movinet.Variant.layers] and ``vidcore_movinet.stream`` show the
network as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from vidcore.nn import ConvNorm
from vidcore.streaming import State
from vidcore_movinet.layers import Bottleneck
from vidcore_movinet.stream import (
    CausalConvNorm,
    CausalSqueezeExcite,
    ImageConvNorm,
    StreamBottleneck,
    before_projection,
    buffered,
    causal_conv,
    check_size,
    last_frames,
)

if TYPE_CHECKING:
    from vidcore_movinet.network import MoViNet


@torch.no_grad()
def fold(net: MoViNet) -> None:
    """Replace the convolutions and bottlenecks of a network in eval mode by their folded forms, in place."""
    modules: Iterable[tuple[str, Any]] = list(net.layers.named_children())
    if net.stream:
        net.stem, net.project = FoldedImageConv(net.stem), FoldedImageConv(net.project)  # type: ignore[arg-type]
        for name, layer in modules:
            net.layers.add_module(name, FoldedStreamBottleneck(layer))
        move_biases(net)
    else:
        net.stem, net.project = folded_conv(net.stem), folded_conv(net.project)  # type: ignore[arg-type]
        for name, layer in modules:
            net.layers.add_module(name, FoldedBottleneck(layer))
    net.requires_grad_(False)


def folded_conv(module: ConvNorm) -> nn.Sequential:
    """Merge batch normalisation into the convolution; the activation follows."""
    return nn.Sequential(fuse_conv_bn_eval(module.conv, module.bn), module.activation)


class FoldedBottleneck(nn.Module):
    """Folded form of ``vidcore_movinet.layers.Bottleneck``; the learned scalar is merged into the projection."""

    def __init__(self, layer: Bottleneck) -> None:
        super().__init__()
        self.expansion, self.feature = folded_conv(layer.expansion), folded_conv(layer.feature)
        self.se = layer.se
        self.projection = folded_conv(layer.projection)
        scale(self.projection, layer.scale)
        self.skip = layer.skip
        if "project" in layer.skip._modules:
            self.skip.project = folded_conv(layer.skip.project)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, C', T, H / stride, W / stride), rounded up, of feature maps (B, C, T, H, W)."""
        return self.skip(x) + self.projection(self.se(self.feature(self.expansion(x))))


def scale(module: nn.Module, factor: Tensor) -> None:
    """Multiply all parameters by a factor."""
    for parameter in module.parameters():
        parameter.mul_(factor)


# Stream networks.


class FoldedImageConv(nn.Module):
    """Folded form of ``vidcore_movinet.stream.ImageConvNorm``; a 1×1 convolution is a matrix product."""

    def __init__(self, module: ImageConvNorm) -> None:
        super().__init__()
        # Channels last: a compiled network would transpose its inputs otherwise.
        conv = fuse_conv_bn_eval(module.conv, module.bn)
        self.conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.act = module.act

    def forward(self, x: Tensor) -> Tensor:
        """Compute (N, H / stride, W / stride, C'), rounded up, of images (N, H, W, C)."""
        conv = self.conv
        x = pointwise(x, conv.weight, conv.bias) if conv.kernel_size == (1, 1) else conv(x)
        return hard_swish(x) if self.act else x


class FoldedCausalConv(nn.Module):
    """Folded form of ``vidcore_movinet.stream.CausalConvNorm``; one frame at a time without copies."""

    def __init__(self, module: CausalConvNorm) -> None:
        super().__init__()
        self.state_names = module.state_names
        self.conv = fuse_conv_bn_eval(module.conv, module.bn)  # type: ignore[type-var]
        self.spatial = self.conv.kernel_size[1] > 1
        if not self.spatial:  # in the order in which `one_frame` reads the weights
            weight = self.conv.weight
            weight.data = weight.flatten(1).t().contiguous().t().view_as(weight)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the output frames (B·T, H / stride, W / stride, C) and the new stream buffer."""
        buffer = [state[name] for name in self.state_names]
        check_size(x, buffer[0])
        if len(x) == len(buffer[0]) and not self.spatial:
            out, buffer = self.one_frame([*buffer, x]), [*buffer[1:], x]
        else:
            clip = buffered(x, buffer)
            out, buffer = causal_conv(clip, self.conv), last_frames(clip, len(buffer))
        return hard_swish(out), dict(zip(self.state_names, buffer, strict=True))

    def one_frame(self, frames: list[Tensor]) -> Tensor:
        """Compute one output frame from as many frames (B, H, W, C) as the kernel is long, the oldest first."""
        first, *weights = self.conv.weight.view(-1, len(frames)).t().contiguous()
        out = torch.addcmul(self.conv.bias, frames[0], first)  # type: ignore[arg-type]
        for frame, weight in zip(frames[1:], weights, strict=True):
            out = out.addcmul_(frame, weight)
        return out


class FoldedSqueezeExcite(CausalSqueezeExcite):
    """Folded form of ``vidcore_movinet.stream.CausalSqueezeExcite``; scales its input in place."""

    def __init__(self, module: CausalSqueezeExcite) -> None:
        nn.Module.__init__(self)
        self.position, self.reduce, self.expand = module.position, module.reduce, module.expand
        self.frame, self.gate_slope = module.frame, module.gate_slope

    def forward(self, x: Tensor, state: State, counts: Tensor) -> tuple[Tensor, State]:
        """Scale the channels of frames (B·T, H, W, C)."""
        context, mean = self.context(x, state, counts)
        logits = self.expand(hard_swish(self.reduce(context)))
        # A slope of 1/6 is PyTorch's own hard sigmoid, in one operation.
        gate = F.hardsigmoid(logits) if self.gate_slope == 1 / 6 else (self.gate_slope * logits + 0.5).clamp(0, 1)
        gate = gate[:, None, None]
        return (x * gate if torch.is_grad_enabled() else x.mul_(gate)), {"mean": mean}


class FoldedStreamBottleneck(nn.Module):
    """Folded form of ``vidcore_movinet.stream.StreamBottleneck``; the projection is added in place."""

    def __init__(self, layer: StreamBottleneck) -> None:
        super().__init__()
        self.state_names = layer.state_names
        self.expansion = FoldedImageConv(layer.expansion)
        self.feature = None if layer.feature is None else FoldedImageConv(layer.feature)
        self.temporal = None if layer.temporal is None else FoldedCausalConv(layer.temporal)
        self.se = FoldedSqueezeExcite(layer.se)
        self.projection = FoldedImageConv(layer.projection)
        scale(self.projection, layer.scale)
        self.skip = layer.skip
        if "project" in layer.skip._modules:
            self.skip.project = FoldedImageConv(layer.skip.project)  # type: ignore[arg-type]

    def forward(self, x: Tensor, state: State, counts: Tensor) -> tuple[Tensor, State]:
        """Compute the output frames and the new state; see ``StreamBottleneck.forward``."""
        residual, after = before_projection(self, x, state, counts)
        return add_pointwise(self.skip(x), residual, self.projection.conv.weight), after


def hard_swish(x: Tensor) -> Tensor:
    """Apply hard swish in place; not in place if gradients are enabled."""
    return F.hardswish(x, inplace=not torch.is_grad_enabled())


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute a 1×1 convolution with weights (C', C, 1, 1) of images (N, H, W, C) as a matrix product."""
    if torch.compiler.is_exporting():  # inference engines optimise convolutions better
        return F.conv2d(x.permute(0, 3, 1, 2), weight, bias).permute(0, 2, 3, 1)
    return F.linear(x, weight.flatten(1), bias)


def add_pointwise(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Add a 1×1 convolution of ``x`` to ``total`` (N, H, W, C') in place; not in place if gradients are enabled."""
    if torch.compiler.is_compiling():  # compilers decide on their own what works in place
        return total + pointwise(x, weight)
    flat = total.flatten(0, 2)
    out = None if torch.is_grad_enabled() else flat  # not `addmm_`, which FLOP counters do not support
    return torch.addmm(flat, x.flatten(0, 2), weight.flatten(1).t(), out=out).view_as(total)


def move_biases(net: MoViNet) -> None:
    """Move the biases of projections and skip connections to the convolutions that read their sums.

    A constant per channel passes average pooling unchanged, and a 1×1 convolution turns it into a constant that its own
    bias can hold. The sums are read by the next expansion, the next skip connection and, at the end, by ``net.project``
    only.
    """
    stem: Any = net.stem
    head: Any = net.project
    layers: Iterable[Any] = net.layers
    constant = torch.zeros_like(stem.conv.bias)
    for layer in layers:
        layer.expansion.conv.bias += through(constant, layer.expansion.conv)
        if "project" in layer.skip._modules:
            shortcut = layer.skip.project.conv
            constant, shortcut.bias = through(constant, shortcut) + shortcut.bias, None
        projection = layer.projection.conv
        constant, projection.bias = constant + projection.bias, None
    head.conv.bias += through(constant, head.conv)


def through(constant: Tensor, conv: nn.Conv2d) -> Tensor:
    """Compute what a 1×1 convolution makes of a constant (C,) that is added to each pixel."""
    return conv.weight.flatten(1) @ constant
