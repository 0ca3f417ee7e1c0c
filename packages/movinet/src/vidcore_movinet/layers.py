"""Building blocks of MoViNet's base networks."""

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
    """Spatial 3×3 average pooling with stride 2 and TensorFlow's "same" padding; padding is not part of the average."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, C, T, H / 2, W / 2), rounded up, of feature maps (B, C, T, H, W)."""
        kernel, padding = pool_windows(x.shape[3:])
        return F.avg_pool3d(x, (1, *kernel), (1, 2, 2), (0, *padding), ceil_mode=True, count_include_pad=False)


def pool_windows(size: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return kernel and padding with which ``ceil_mode`` gives TensorFlow's 3×3 pooling with stride 2."""
    # An odd size needs padding on both sides. An even size needs it at the end only, which `ceil_mode` adds. PyTorch
    # does not allow windows larger than the input: a size below 3 is one window.
    return [min(n, 3) for n in size], [n % 2 if n >= 3 else 0 for n in size]


def squeeze_width(channels: float) -> int:
    """Return a quarter of the channels, rounded to a multiple of 8; rounding down by more than 10 % is avoided."""
    target = channels / 4
    width = max(8, int(target + 4) // 8 * 8)
    return width if width >= 0.9 * target else width + 8


class Bottleneck(nn.Module):
    """Inverted bottleneck: expansion, depthwise convolution, squeeze-and-excitation, projection and a skip connection.

    The residual branch is multiplied by a learned scalar whose initial value is 0 (ReZero, arXiv:2003.04887).

    Args:
        in_channels: Channels of the input.
        expand: Channels of the depthwise convolution.
        out_channels: Channels of the output.
        kernel: Kernel of the depthwise convolution (time, height, width).
        stride: Spatial stride of the depthwise convolution and of the skip connection.
        drop: Probability of dropping the residual branch of a sample in training (stochastic depth).
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
        """Compute (B, C', T, H / stride, W / stride), rounded up, of feature maps (B, C, T, H, W)."""
        residual = self.scale * self.projection(self.se(self.feature(self.expansion(x))))
        return self.skip(x) + self.drop(residual)
