"""Building blocks of MoViNet's stream networks: causal operations with stream buffers (section 3.2 of the paper).

A stream network processes a video in consecutive pieces of any length. Blocks take frames as images with the channels
last, (B·T, H, W, C): T frames of each of B videos, in time order. A block takes and returns its state, a dictionary of
tensors that is carried from one piece to the next; nothing is kept in the module.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from vidcore.errors import UserError
from vidcore.nn import Kernel, same_padding
from vidcore.streaming import State
from vidcore_movinet.layers import pool_windows, squeeze_width


class SameConv2d(nn.Conv2d):
    """2D convolution without bias and with TensorFlow's "same" padding.

    Args:
        in_channels: C, channels of the input.
        out_channels: C', channels of the output.
        kernel: Height and width of the kernel.
        stride: Spatial stride.
        groups: Number of groups.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute (N, H / stride, W / stride, C'), rounded up, of images (N, H, W, C)."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        top, bottom = same_padding(x.shape[1], kernel, stride)
        left, right = same_padding(x.shape[2], kernel, stride)
        # Padding that both sides share is left to the convolution: padding a copy costs time.
        if bottom > top or right > left:
            x = F.pad(x, (0, 0, 0, right - left, 0, bottom - top))
        x = F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        return x.permute(0, 2, 3, 1)


class ImageNorm(nn.BatchNorm2d):
    """Batch normalisation of images with the channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise images (N, H, W, C)."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ImageConvNorm(nn.Module):
    """2D convolution, batch normalisation and, optionally, hard swish.

    Args:
        in_channels: C, channels of the input.
        out_channels: C', channels of the output.
        kernel: Height and width of the kernel.
        stride: Spatial stride.
        groups: Number of groups.
        act: Whether hard swish follows.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, kernel, stride, groups)
        self.bn = ImageNorm(out_channels, eps=1e-3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Compute (N, H / stride, W / stride, C'), rounded up, of images (N, H, W, C)."""
        x = self.bn(self.conv(x))
        return F.hardswish(x) if self.act else x


class ImagePool(nn.Module):
    """``vidcore_movinet.layers.SamePool`` of images with the channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute (N, H / 2, W / 2, C), rounded up, of images (N, H, W, C)."""
        kernel, padding = pool_windows(x.shape[1:3])
        x = F.avg_pool2d(x.permute(0, 3, 1, 2), kernel, 2, padding, ceil_mode=True, count_include_pad=False)
        return x.permute(0, 2, 3, 1)


class CausalConvNorm(nn.Module):
    """Causal depthwise convolution with a stream buffer, batch normalisation and hard swish.

    The stream buffer holds the input frames before the current piece: ``ago1`` (B, H, W, C), the last one, ``ago2`` and
    so on; zeros before the first frame of a video.

    Args:
        channels: C, number of channels.
        frames: Kernel size in frames: the current frame and ``frames`` - 1 before it.
        kernel: Height and width of the kernel; 1 for the temporal half of a (2+1)D convolution.
        stride: Spatial stride.
    """

    def __init__(self, channels: int, frames: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.state_names = [f"ago{ago}" for ago in range(frames - 1, 0, -1)]
        self.conv = nn.Conv3d(
            channels, channels, (frames, kernel, kernel), (1, stride, stride), groups=channels, bias=False
        )
        self.bn = ImageNorm(channels, eps=1e-3)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the output frames (B·T, H / stride, W / stride, C) and the new stream buffer.

        Raises:
            UserError: The frames and the stream buffer have different sizes.
        """
        buffer = [state[name] for name in self.state_names]
        check_size(x, buffer[0])
        clip = buffered(x, buffer)
        x = F.hardswish(self.bn(causal_conv(clip, self.conv)))
        return x, dict(zip(self.state_names, last_frames(clip, len(buffer)), strict=True))


def check_size(x: Tensor, buffer: Tensor) -> None:
    """Check that frames (B·T, H, W, C) have the size of the stream buffer's (B, H, W, C).

    Raises:
        UserError: They have not.
    """
    if buffer.shape[1:3] != x.shape[1:3]:
        raise UserError(
            f"frames must have the size that the state was created for: their feature map is {list(x.shape[1:3])}, "
            f"the stream buffer is {list(buffer.shape[1:3])}; create a new state with init_state"
        )


def buffered(x: Tensor, buffer: list[Tensor]) -> Tensor:
    """Concatenate the stream buffer, (B, H, W, C) per frame, and frames (B·T, H, W, C) to clips (B, T', H, W, C)."""
    return torch.cat([*(frame.unsqueeze(1) for frame in buffer), x.unflatten(0, (len(buffer[0]), -1))], 1)


def last_frames(clip: Tensor, count: int) -> list[Tensor]:
    """Return copies of the last frames of clips (B, T, H, W, C); views would keep the whole clip in memory."""
    return [frame.clone(memory_format=torch.contiguous_format) for frame in clip[:, -count:].unbind(1)]


def causal_conv(clip: Tensor, conv: nn.Conv3d) -> Tensor:
    """Convolve clips (B, T + kernel - 1, H, W, C), padded in space only, to images (B·T, H / stride, W / stride, C)."""
    clip = clip.permute(0, 4, 1, 2, 3)
    kernel, stride = conv.kernel_size, conv.stride
    if kernel[1:] == (1, 1):  # in two dimensions, time and pixels: its gradient is faster on a CPU
        flat = F.conv2d(clip.flatten(3), conv.weight.squeeze(-1), conv.bias, groups=conv.groups)
        out = flat.unflatten(3, clip.shape[3:])
    else:
        pads = [same_padding(*axis) for axis in zip(clip.shape[3:], kernel[1:], stride[1:], strict=True)]
        clip = F.pad(clip, [zeros for pad in reversed(pads) for zeros in pad])
        out = F.conv3d(clip, conv.weight, conv.bias, stride, groups=conv.groups)
    return out.permute(0, 2, 3, 4, 1).flatten(0, 1)


def cumulative_average(values: Tensor, mean: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Cumulative global average pooling: update a running mean with new values.

    The state is the mean in float32, not the sum, which would lose precision over a long video.

    Args:
        values: (B·T, C), one vector per new frame.
        mean: (B, C) float32, mean over the earlier frames.
        counts: (B·T, 1) float32, number of frames up to and including each new frame.

    Returns:
        (B·T, C), the mean up to and including each frame, and (B, C), the mean after the last frame.
    """
    rows = len(mean)
    if len(values) == rows:
        means = torch.addcdiv(mean, values.float() - mean, counts)
        return means, means
    differences = values.float().unflatten(0, (rows, -1)) - mean[:, None]
    means = torch.addcdiv(mean[:, None], differences.cumsum(1), counts.view(rows, -1, 1))
    return means.flatten(0, 1), means[:, -1]


class PositionalEncoding(nn.Module):
    """Sinusoidal encoding of the frame index, scaled by a learned scalar whose initial value is 0.

    Args:
        channels: C, number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))
        self.channels = channels

    def forward(self, frames: Tensor) -> Tensor:
        """Compute the encoding (N, C) of frame indices (N, 1), counted from 0: all sines, then all cosines."""
        exponents = torch.arange(0, self.channels, 2, device=frames.device) / self.channels
        angles = frames * 10_000.0**-exponents
        return self.scale * torch.cat([angles.sin(), angles.cos()], -1)


class CausalSqueezeExcite(nn.Module):
    """Causal squeeze-and-excitation (CausalSE): the gate depends on the cumulative average, not on later frames.

    The state is ``mean`` (B, C), the cumulative average over the frames so far.

    Args:
        channels: C, number of channels.
        frame: Whether the gate also depends on the average of the current frame, as in (2+1)D networks.
        position: Whether a positional encoding of the frame index is added.
        gate_slope: Slope of the gate's hard sigmoid; see [`MoViNetConfig`][vidcore_movinet.MoViNetConfig].
    """

    def __init__(self, channels: int, frame: bool, position: bool, gate_slope: float) -> None:
        super().__init__()
        context = 2 * channels if frame else channels
        width = squeeze_width(context)
        self.position = PositionalEncoding(context) if position else None
        self.reduce = nn.Linear(context, width)
        self.expand = nn.Linear(width, channels)
        self.frame, self.gate_slope = frame, gate_slope

    def forward(self, x: Tensor, state: State, counts: Tensor) -> tuple[Tensor, State]:
        """Scale the channels of frames (B·T, H, W, C); see ``cumulative_average`` for ``counts``."""
        context, mean = self.context(x, state, counts)
        logits = self.expand(F.hardswish(self.reduce(context)))
        gate = (self.gate_slope * logits + 0.5).clamp(0, 1)
        return x * gate[:, None, None], {"mean": mean}

    def context(self, x: Tensor, state: State, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what the gate depends on, (B·T, C) or (B·T, 2·C), and the new cumulative average (B, C)."""
        frames = x.mean((1, 2))
        means, last = cumulative_average(frames, state["mean"], counts)
        context = torch.cat([means, frames], -1) if self.frame else means
        if self.position is not None:
            context = context + self.position(counts - 1)
        return context.to(self.reduce.weight.dtype), last


def before_projection(block: Any, x: Tensor, state: State, counts: Tensor) -> tuple[Tensor, State]:
    """Compute what a bottleneck, folded or not, does before its projection; see ``StreamBottleneck.forward``."""
    buffer: State = {}
    residual = block.expansion(x)
    if block.feature is not None:
        residual = block.feature(residual)
    if block.temporal is not None:
        residual, buffer = block.temporal(residual, state)
    residual, mean = block.se(residual, state, counts)
    return residual, {**buffer, **mean}


class StreamBottleneck(nn.Module):
    """``vidcore_movinet.layers.Bottleneck`` with causal operations.

    Args:
        in_channels: Channels of the input.
        expand: Channels of the depthwise convolution.
        out_channels: Channels of the output.
        kernel: Kernel of the depthwise convolution (time, height, width).
        stride: Spatial stride of the depthwise convolution and of the skip connection.
        drop: Probability of dropping the residual branch of a video in training (stochastic depth).
        factorised: True: (2+1)D, a convolution in space and one in time. False: one 3D convolution.
        position: Whether squeeze-and-excitation has a positional encoding.
        gate_slope: Slope of the hard sigmoid of squeeze-and-excitation.
    """

    def __init__(
        self,
        in_channels: int,
        expand: int,
        out_channels: int,
        kernel: Kernel,
        stride: int,
        drop: float,
        factorised: bool,
        position: bool,
        gate_slope: float,
    ) -> None:
        super().__init__()
        frames, size, _ = kernel
        self.expansion = ImageConvNorm(in_channels, expand)
        self.feature: ImageConvNorm | None = None
        self.temporal: CausalConvNorm | None = None
        if frames == 1 or factorised:
            self.feature = ImageConvNorm(expand, expand, size, stride, groups=expand)
            if frames > 1:
                self.temporal = CausalConvNorm(expand, frames)
        else:
            self.temporal = CausalConvNorm(expand, frames, size, stride)
        self.se = CausalSqueezeExcite(expand, factorised, position, gate_slope)
        self.projection = ImageConvNorm(expand, out_channels, act=False)
        self.scale = nn.Parameter(torch.zeros(()))
        self.drop = StochasticDepth(drop, "row")
        self.state_names = ["mean"] if self.temporal is None else ["mean", *self.temporal.state_names]
        skip: OrderedDict[str, nn.Module] = OrderedDict()
        if stride > 1:
            skip["pool"] = ImagePool()
        if stride > 1 or in_channels != out_channels:
            skip["project"] = ImageConvNorm(in_channels, out_channels, act=False)
        self.skip = nn.Sequential(skip)

    def forward(self, x: Tensor, state: State, counts: Tensor) -> tuple[Tensor, State]:
        """Compute the output frames and the new state.

        Args:
            x: (B·T, H, W, C).
            state: ``mean`` and the stream buffer, if the kernel is longer than one frame.
            counts: (B·T, 1) float32, number of frames up to and including each frame.

        Returns:
            (B·T, H / stride, W / stride, C'), rounded up, and the new state.
        """
        residual, after = before_projection(self, x, state, counts)
        residual = self.scale * self.projection(residual)
        if self.training:  # all frames of a video are dropped together
            residual = self.drop(residual.unflatten(0, (len(state["mean"]), -1))).flatten(0, 1)
        return self.skip(x) + residual, after
