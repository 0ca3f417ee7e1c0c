"""Convolution with normalisation, and squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vidcore.nn.same import Kernel, SameConv3d

Activation = Callable[[], nn.Module]


class ConvNorm(nn.Module):
    """Convolution with "same" padding and without bias, batch normalisation and, unless None, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Kernel = (1, 1, 1),
        stride: Kernel = (1, 1, 1),
        groups: int = 1,
        eps: float = 1e-5,
        activation: Activation | None = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = SameConv3d(in_channels, out_channels, kernel, stride, groups=groups, bias=False)
        self.bn = nn.BatchNorm3d(out_channels, eps=eps)
        self.activation = activation() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C', T', H', W')."""
        return self.activation(self.bn(self.conv(x)))


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate in [0, 1], computed from the channel means over the clip.

    Hu et al., CVPR 2018 (arXiv:1709.01507), with means over time as well.

    Args:
        channels: C.
        width: Width of the hidden layer.
        activation: Activation after the hidden layer. Default: ReLU.
    """

    def __init__(self, channels: int, width: int, activation: Activation = nn.ReLU) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, width)
        self.activation = activation()
        self.expand = nn.Linear(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (B, C, T, H, W)."""
        return x * self.gate(x.mean((2, 3, 4)))[:, :, None, None, None]

    def gate(self, context: Tensor) -> Tensor:
        """Map channel means (..., C) to gates (..., C)."""
        return torch.sigmoid(self.expand(self.activation(self.reduce(context))))
