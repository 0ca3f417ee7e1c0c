"""The building blocks of 3D ResNet-RS."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from vidcore.nn import ConvNorm, SqueezeExcite

relu = partial(nn.ReLU, inplace=True)
GatingPosition = Literal["before_se", "after_se"]


class Stem(nn.Sequential):
    """``v1``, three small convolutions as in ResNet-D, or ``v0``, one of 5×7×7; both halve time, height and width."""

    def __init__(self, version: Literal["v0", "v1"]) -> None:
        if version == "v0":
            super().__init__(ConvNorm(3, 64, (5, 7, 7), (2, 2, 2), activation=relu))
        else:
            super().__init__(
                ConvNorm(3, 32, (5, 3, 3), (2, 2, 2), activation=relu),
                ConvNorm(32, 32, (1, 3, 3), activation=relu),
                ConvNorm(32, 64, (1, 3, 3), activation=relu),
            )


class SelfGating(nn.Module):
    """Scales each channel by a gate in [0, 1] that is linear in the channels' means over the clip (S3D-G)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, T, H, W) to the same."""
        return x * torch.sigmoid(self.linear(x.mean((2, 3, 4))))[:, :, None, None, None]


class Bottleneck(nn.Module):
    """Temporal, spatial and pointwise convolution, self-gating, squeeze-excitation, and a shortcut.

    Args:
        in_channels: Channels of the input.
        width: Channels between the convolutions; the output has four times as many.
        temporal_kernel: Of the first convolution.
        stride: Spatial stride, of the second convolution and the shortcut.
        se_ratio: Hidden channels of squeeze-excitation as a share of the output's; 0: none.
        gating: Whether there is self-gating.
        gating_position: Of self-gating, beside squeeze-excitation.
        drop: Probability with which training leaves the residual branch of a sample out (stochastic depth).
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        temporal_kernel: int = 1,
        stride: int = 1,
        se_ratio: float = 0.25,
        gating: bool = False,
        gating_position: GatingPosition = "before_se",
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        out = 4 * width
        spatial = (1, stride, stride)
        self.temporal = ConvNorm(in_channels, width, (temporal_kernel, 1, 1), activation=relu)
        self.spatial = ConvNorm(width, width, (1, 3, 3), spatial, activation=relu)
        self.pointwise = ConvNorm(width, out, activation=None)
        gates = {"gating": SelfGating(out)} if gating else {}
        squeeze = {"se": SqueezeExcite(out, int(se_ratio * out))} if se_ratio else {}
        self.attention = nn.Sequential()
        for name, gate in (gates | squeeze if gating_position == "before_se" else squeeze | gates).items():
            self.attention.add_module(name, gate)
        self.drop = StochasticDepth(drop, "row")
        changes = in_channels != out or stride != 1
        self.shortcut = ConvNorm(in_channels, out, stride=spatial, activation=None) if changes else nn.Identity()
        self.activation = relu()

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, T, H, W) to (B, 4·width, T, H / stride, W / stride), rounded up."""
        residual = self.attention(self.pointwise(self.spatial(self.temporal(x))))
        return self.activation(self.drop(residual) + self.shortcut(x))
