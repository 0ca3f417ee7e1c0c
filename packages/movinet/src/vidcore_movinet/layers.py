"""The building blocks of MoViNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv3d_weight
from torchvision.ops import StochasticDepth

from vidcore_movinet.variants import Kernel


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same" padding of one axis: zeros before and after, for ``ceil(size / stride)`` outputs.

    It depends on the size: with stride 2, an even size gets one zero more at the end than at the beginning.
    """
    total = max(kernel - (size % stride or stride), 0)
    return total // 2, total - total // 2


class SameConv3d(nn.Conv3d):
    """A 3D convolution with TensorFlow's "same" padding, whatever the size of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, T, H, W) to (B, C', T', H', W'), each size divided by its stride and rounded up."""
        pads = [same_padding(*axis) for axis in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)]
        # Zeros that both ends have are left to the convolution: padding a copy costs time and memory.
        extra = [zeros for begin, end in reversed(pads) for zeros in (0, end - begin)]
        if any(extra):
            x = F.pad(x, extra)
        weight = self.weight
        if x.device.type == "cpu":  # training there is about twice as fast with the channels last
            x = x.contiguous(memory_format=torch.channels_last_3d)
            weight = weight.contiguous(memory_format=torch.channels_last_3d)
        padding = [begin for begin, _ in pads]
        if (
            x.device.type == "cpu"
            and self.groups == x.shape[1]
            and x.requires_grad
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")  # backward would meet two dtypes
        ):
            return _DepthwiseOnCpu.apply(x, weight, self.stride, padding)
        return F.conv3d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _DepthwiseOnCpu(torch.autograd.Function):
    """A depthwise convolution whose input's gradient is a forward convolution with the kernel turned round.

    PyTorch's own gradient there takes 4 to 10 times as long, which was half of a training step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv3d(x, weight, None, stride, padding, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        stride, padding, groups = ctx.stride, ctx.padding, x.shape[1]
        grad_weight = conv3d_weight(x, weight.shape, grad, stride, padding, groups=groups)
        kernel = weight.shape[2:]
        # The gradient with zeros between its values where the stride left inputs out; then the padding that makes the
        # full correlation exactly as large as the input.
        steps = [(n - 1) * s + 1 for n, s in zip(grad.shape[2:], stride, strict=True)]
        spread = grad
        if list(steps) != list(grad.shape[2:]):
            spread = grad.new_zeros(*grad.shape[:2], *steps).contiguous(memory_format=torch.channels_last_3d)
            spread[..., :: stride[0], :: stride[1], :: stride[2]] = grad
        before = [k - 1 - p for k, p in zip(kernel, padding, strict=True)]
        after = [n - step - b + k - 1 for n, step, b, k in zip(x.shape[2:], steps, before, kernel, strict=True)]
        pads = [zeros for ends in reversed(list(zip(before, after, strict=True))) for zeros in ends]
        grad_x = F.conv3d(F.pad(spread, pads), weight.flip(2, 3, 4), groups=groups)
        return grad_x, grad_weight, None, None


class SamePool(nn.Module):
    """Average of 3×3 pixels, spatial stride 2, TensorFlow's "same" padding; the padding's zeros do not count."""

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, T, H, W) to (B, C, T, H / 2, W / 2), rounded up."""
        # An odd size needs padding at both ends, an even one at the end only, which `ceil_mode` gives. PyTorch wants
        # windows no larger than the input: fewer than three pixels are one window.
        size = x.shape[3:]
        kernel = [min(n, 3) for n in size]
        padding = [n % 2 if n >= 3 else 0 for n in size]
        return F.avg_pool3d(x, (1, *kernel), (1, 2, 2), (0, *padding), ceil_mode=True, count_include_pad=False)


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and, unless None, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Kernel = (1, 1, 1),
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.SiLU,
    ) -> None:
        super().__init__()
        self.conv = SameConv3d(in_channels, out_channels, kernel, (1, stride, stride), groups=groups, bias=False)
        self.bn = nn.BatchNorm3d(out_channels, eps=1e-3)
        self.activation = activation() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, T, H, W) to (B, C', T', H', W')."""
        return self.activation(self.bn(self.conv(x)))


def squeeze_width(channels: float) -> int:
    """A quarter of the channels as a multiple of 8: the nearest, or the next where that takes more than 10 % away."""
    target = channels / 4
    width = max(8, int(target + 4) // 8 * 8)
    return width if width >= 0.9 * target else width + 8


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in [0, 1] that is computed from the channels' means over the clip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = squeeze_width(channels)
        self.reduce = nn.Linear(channels, width)
        self.expand = nn.Linear(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, T, H, W) to the same."""
        return x * self.gate(x.mean((2, 3, 4)))[:, :, None, None, None]

    def gate(self, context: Tensor) -> Tensor:
        """From context (..., C) to gate (..., C)."""
        return torch.sigmoid(self.expand(F.silu(self.reduce(context))))


class Bottleneck(nn.Module):
    """Inverted bottleneck: expansion, depthwise convolution, squeeze-excitation, projection, and a skip connection.

    The residual branch is multiplied by a learned scalar that starts at 0 (ReZero, arXiv:2003.04887).

    Args:
        in_channels: Channels of the input.
        expand: Channels of the depthwise convolution.
        out_channels: Channels of the output.
        kernel: Of the depthwise convolution (time, height, width).
        stride: Spatial stride of the depthwise convolution and of the skip connection.
        drop: Probability with which training leaves the residual branch of a sample out (stochastic depth).
    """

    def __init__(
        self, in_channels: int, expand: int, out_channels: int, kernel: Kernel, stride: int = 1, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.expansion = ConvNorm(in_channels, expand)
        self.feature = ConvNorm(expand, expand, kernel, stride, groups=expand)
        self.se = SqueezeExcite(expand)
        self.projection = ConvNorm(expand, out_channels, activation=None)
        self.scale = nn.Parameter(torch.zeros(()))
        self.drop = StochasticDepth(drop, "row")
        skip: OrderedDict[str, nn.Module] = OrderedDict()
        if stride > 1:
            skip["pool"] = SamePool()
        if stride > 1 or in_channels != out_channels:
            skip["project"] = ConvNorm(in_channels, out_channels, activation=None)
        self.skip = nn.Sequential(skip)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, T, H, W) to (B, C', T, H / stride, W / stride), rounded up."""
        residual = self.projection(self.se(self.feature(self.expansion(x))))
        return self.skip(x) + self.drop(self.scale * residual)
