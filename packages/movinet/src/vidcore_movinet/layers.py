"""The building blocks of MoViNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from vidcore.nn import ConvNorm, Kernel, SqueezeExcite

conv_norm = partial(ConvNorm, eps=1e-3, activation=nn.SiLU)


class SamePool(nn.Module):
    """Average of 3×3 pixels, spatial stride 2, TensorFlow's "same" padding; the padding's zeros do not count."""

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, T, H, W) to (B, C, T, H / 2, W / 2), rounded up."""
        kernel, padding = pool_windows(x.shape[3:])
        return F.avg_pool3d(x, (1, *kernel), (1, 2, 2), (0, *padding), ceil_mode=True, count_include_pad=False)


def pool_windows(size: Sequence[int]) -> tuple[list[int], list[int]]:
    """Kernel and padding with which ``ceil_mode`` pools images of ``size`` as TensorFlow does, with stride 2."""
    # An odd size needs padding at both ends, an even one at the end only, which `ceil_mode` gives. PyTorch wants
    # windows no larger than the input: fewer than three pixels are one window.
    return [min(n, 3) for n in size], [n % 2 if n >= 3 else 0 for n in size]


def squeeze_width(channels: float) -> int:
    """A quarter of the channels as a multiple of 8: the nearest, or the next where that takes more than 10 % away."""
    target = channels / 4
    width = max(8, int(target + 4) // 8 * 8)
    return width if width >= 0.9 * target else width + 8


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
        self.expansion = conv_norm(in_channels, expand)
        self.feature = conv_norm(expand, expand, kernel, (1, stride, stride), groups=expand)
        self.se = SqueezeExcite(expand, squeeze_width(expand), nn.SiLU)
        self.projection = conv_norm(expand, out_channels, activation=None)
        self.scale = nn.Parameter(torch.zeros(()))
        self.drop = StochasticDepth(drop, "row")
        skip: OrderedDict[str, nn.Module] = OrderedDict()
        if stride > 1:
            skip["pool"] = SamePool()
        if stride > 1 or in_channels != out_channels:
            skip["project"] = conv_norm(in_channels, out_channels, activation=None)
        self.skip = nn.Sequential(skip)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, T, H, W) to (B, C', T, H / stride, W / stride), rounded up."""
        residual = self.projection(self.se(self.feature(self.expansion(x))))
        if self.scale is not None:  # else it is in the projection's weights
            residual = self.scale * residual
        return self.skip(x) + self.drop(residual)
