"""Building blocks of 3D ResNet-RS."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from vidcore.nn import ConvNorm, SqueezeExcite
from vidcore_resnet_rs.variants import GatingPosition, StemVersion

relu = partial(nn.ReLU, inplace=True)


class Stem(nn.Sequential):
    """Stem of the network; halves time, height and width.

    Args:
        version: ``v1``: three convolutions, as in ResNet-D. ``v0``: one 5×7×7 convolution.
    """

    def __init__(self, version: StemVersion) -> None:
        if version == "v0":
            super().__init__(ConvNorm(3, 64, (5, 7, 7), (2, 2, 2), activation=relu))
        else:
            super().__init__(
                ConvNorm(3, 32, (5, 3, 3), (2, 2, 2), activation=relu),
                ConvNorm(32, 32, (1, 3, 3), activation=relu),
                ConvNorm(32, 64, (1, 3, 3), activation=relu),
            )


class SelfGating(nn.Module):
    """Self-gating of S3D-G (arXiv:1712.04851): each channel is scaled by a sigmoid gate of the channels' means.

    Args:
        channels: C, number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of a feature map (B, C, T, H, W)."""
        return x * torch.sigmoid(self.linear(x.mean((2, 3, 4))))[:, :, None, None, None]


class Bottleneck(nn.Module):
    """Bottleneck block: temporal, spatial and pointwise convolution, self-gating, squeeze-excitation and a shortcut.

    Args:
        in_channels: Channels of the input.
        width: Channels of the temporal and the spatial convolution; the output has 4 · ``width``.
        temporal_kernel: Kernel size of the temporal convolution in frames.
        stride: Spatial stride of the spatial convolution and of the shortcut.
        se_ratio: Hidden channels of squeeze-excitation as a share of the output channels; 0: no squeeze-excitation.
        gating: Whether the block has self-gating.
        gating_position: Whether self-gating comes before or after squeeze-excitation.
        drop: Probability of dropping the residual branch of a sample in training (stochastic depth).
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
        projects = in_channels != out or stride != 1
        self.shortcut = ConvNorm(in_channels, out, stride=spatial, activation=None) if projects else nn.Identity()
        self.activation = relu()

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, 4·width, T, H / stride, W / stride), rounded up, of a feature map (B, C, T, H, W)."""
        residual = self.attention(self.pointwise(self.spatial(self.temporal(x))))
        return self.activation(self.drop(residual) + self.shortcut(x))
