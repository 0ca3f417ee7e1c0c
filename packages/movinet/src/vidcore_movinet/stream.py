"""The building blocks of MoViNet's stream networks, which see the past only and take a video in pieces of any length.

Frames pass as images with the channels last, (B·T, H, W, C), the T of a row one after another, so that a convolution
of one pixel is a matrix product, every other one in space has two dimensions, and nothing is transposed between them.
What a layer has to remember between the pieces is a dictionary of tensors, given and returned.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from vidcore.errors import UserError
from vidcore.nn import Kernel, same_padding
from vidcore.streaming import State
from vidcore_movinet.layers import pool_windows, squeeze_width


def hard_swish(x: Tensor) -> Tensor:
    """Hard swish of what nothing else uses: in its place, unless gradients want it."""
    return F.hardswish(x, inplace=not torch.is_grad_enabled())


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution of one pixel, with weights (C', C, 1, 1), from (N, H, W, C) to (N, H, W, C')."""
    if torch.compiler.is_exporting():  # engines know convolutions better
        return F.conv2d(x.permute(0, 3, 1, 2), weight, bias).permute(0, 2, 3, 1)
    return F.linear(x, weight.flatten(1), bias)


def add_pointwise(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Adds a convolution of one pixel to ``total`` (N, H, W, C'): in its place, unless gradients want it."""
    if torch.compiler.is_compiling():  # compilers find the place themselves
        return total + pointwise(x, weight)
    flat = total.flatten(0, 2)
    out = None if torch.is_grad_enabled() else flat  # not `addmm_`, which counters of FLOPs do not know
    return torch.addmm(flat, x.flatten(0, 2), weight.flatten(1).t(), out=out).view_as(total)


class ImageConv(nn.Conv2d):
    """A 2D convolution with TensorFlow's "same" padding, without bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups, bias=False)
        self.act = False
        """Whether hard swish comes behind it, as folding has it, which gives it a bias too."""

    def forward(self, x: Tensor) -> Tensor:
        """From (N, H, W, C) to (N, H / stride, W / stride, C'), rounded up."""
        x = pointwise(x, self.weight, self.bias) if self.kernel_size == (1, 1) else self.convolve(x)
        return hard_swish(x) if self.act else x

    def convolve(self, x: Tensor) -> Tensor:
        """Without what may come behind it."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        top, bottom = same_padding(x.shape[1], kernel, stride)
        left, right = same_padding(x.shape[2], kernel, stride)
        # Zeros that both ends have are left to the convolution: padding a copy costs time.
        if bottom > top or right > left:
            x = F.pad(x, (0, 0, 0, right - left, 0, bottom - top))
        x = F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        return x.permute(0, 2, 3, 1)


class ImageNorm(nn.BatchNorm2d):
    """Batch normalisation of images with the channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """From (N, H, W, C) to the same."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ImageConvNorm(nn.Module):
    """Convolution without bias, batch normalisation and, unless told otherwise, hard swish."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = ImageConv(in_channels, out_channels, kernel, stride, groups)
        self.bn = ImageNorm(out_channels, eps=1e-3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """From (N, H, W, C) to (N, H / stride, W / stride, C'), rounded up."""
        x = self.bn(self.conv(x))
        return hard_swish(x) if self.act else x


class ImagePool(nn.Module):
    """:class:`~vidcore_movinet.layers.SamePool` of images."""

    def forward(self, x: Tensor) -> Tensor:
        """From (N, H, W, C) to (N, H / 2, W / 2, C), rounded up."""
        kernel, padding = pool_windows(x.shape[1:3])
        x = F.avg_pool2d(x.permute(0, 3, 1, 2), kernel, 2, padding, ceil_mode=True, count_include_pad=False)
        return x.permute(0, 2, 3, 1)


class CausalConvNorm(nn.Module):
    """A depthwise convolution over a frame and those before it, batch normalisation and hard swish.

    Args:
        channels: C.
        frames: It reaches over, this one included.
        kernel: In space; 1 for the temporal half of a (2+1)D convolution.
        stride: In space.
    """

    def __init__(self, channels: int, frames: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.frames = frames
        self.state_names = [f"ago{ago}" for ago in range(frames - 1, 0, -1)]
        self.conv = nn.Conv3d(
            channels, channels, (frames, kernel, kernel), (1, stride, stride), groups=channels, bias=False
        )
        self.bn = ImageNorm(channels, eps=1e-3)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """From (B·T, H, W, C) and the frames before, ``ago1`` (B, H, W, C), ``ago2`` …, to the same T frames later."""
        frames = [state[name] for name in self.state_names]
        rows = len(frames[0])
        if frames[0].shape[1:3] != x.shape[1:3]:
            here, there = list(x.shape[1:3]), list(frames[0].shape[1:3])
            raise UserError(f"frames of another size than the state is for: {here} inside the network, not {there}")
        if len(x) == rows and self.conv.kernel_size[1] == 1:
            frames.append(x)
            out = self.one_frame(frames)
            frames = frames[1:]
        else:
            clip = torch.cat([*(frame.unsqueeze(1) for frame in frames), x.unflatten(0, (rows, -1))], 1)
            out = self.convolve(clip.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1).flatten(0, 1)
            # Copies: views would keep the whole clip in memory.
            frames = [
                frame.clone(memory_format=torch.contiguous_format) for frame in clip[:, 1 - self.frames :].unbind(1)
            ]
        return hard_swish(self.bn(out)), dict(zip(self.state_names, frames, strict=True))

    def one_frame(self, frames: list[Tensor]) -> Tensor:
        """The convolution over as many frames (B, H, W, C) as its kernel has, the oldest first, copying none."""
        first, *weights = self.conv.weight.view(-1, self.frames).t().contiguous()
        bias = self.conv.bias
        out = frames[0] * first if bias is None else torch.addcmul(bias, frames[0], first)
        for frame, weight in zip(frames[1:], weights, strict=True):
            out = out.addcmul_(frame, weight)
        return out

    def convolve(self, clip: Tensor) -> Tensor:
        """From (B, C, T + kernel - 1, H, W) to (B, C, T, H / stride, W / stride), rounded up."""
        kernel, stride = self.conv.kernel_size, self.conv.stride
        if kernel[1] == 1:
            flat = F.conv2d(clip.flatten(3), self.conv.weight.squeeze(-1), self.conv.bias, groups=clip.shape[1])
            return flat.unflatten(3, clip.shape[3:])
        pads = [same_padding(*axis) for axis in zip(clip.shape[3:], kernel[1:], stride[1:], strict=True)]
        clip = F.pad(clip, [zeros for pad in reversed(pads) for zeros in pad])
        return F.conv3d(clip, self.conv.weight, self.conv.bias, stride, groups=clip.shape[1])


def running_means(values: Tensor, mean: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Means of all values up to each of some new ones, in float32, which a sum of many would outgrow.

    Args:
        values: (B·T, C), new.
        mean: (B, C), of those before.
        numbers: (B·T, 1) of the new ones among all, from 1, float32.

    Returns:
        (B·T, C), and the last of each row, (B, C).
    """
    rows = len(mean)
    if len(values) == rows:
        means = torch.addcdiv(mean, values.float() - mean, numbers)
        return means, means
    new = values.float().unflatten(0, (rows, -1)) - mean[:, None]
    means = torch.addcdiv(mean[:, None], new.cumsum(1), numbers.view(rows, -1, 1))
    return means.flatten(0, 1), means[:, -1]


class PositionalEncoding(nn.Module):
    """Sines and cosines of a frame's number, times a learned scalar that starts at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))
        self.channels = channels

    def forward(self, frames: Tensor) -> Tensor:
        """From numbers of frames (N, 1), from 0, to (N, C): all sines, then all cosines."""
        exponents = torch.arange(0, self.channels, 2, device=frames.device) / self.channels
        angles = frames * 10_000.0**-exponents
        return self.scale * torch.cat([angles.sin(), angles.cos()], -1)


class CausalSqueezeExcite(nn.Module):
    """Squeeze-and-excitation whose gate sees the mean of the frames so far and, unless told otherwise, of this frame.

    Args:
        channels: C.
        frame: Whether the gate sees the frame's own mean as well (``2plus3d``).
        position: Whether it sees the frame's number.
        gate_slope: Of the hard sigmoid about 0, see :class:`~vidcore_movinet.network.MoViNet`.
    """

    def __init__(self, channels: int, frame: bool, position: bool, gate_slope: float) -> None:
        super().__init__()
        context = 2 * channels if frame else channels
        width = squeeze_width(context)
        self.position = PositionalEncoding(context) if position else None
        self.reduce = nn.Linear(context, width)
        self.expand = nn.Linear(width, channels)
        self.frame, self.gate_slope = frame, gate_slope

    def forward(self, x: Tensor, state: State, numbers: Tensor) -> tuple[Tensor, State]:
        """From (B·T, H, W, C), the state's ``mean`` (B, C) and the frames' numbers (B·T, 1), from 1, to the same."""
        frames = x.mean((1, 2))
        means, last = running_means(frames, state["mean"], numbers)
        context = torch.cat([means, frames], -1) if self.frame else means
        if self.position is not None:
            context = context + self.position(numbers - 1)
        gate = self.expand(hard_swish(self.reduce(context.to(self.reduce.weight.dtype))))
        # 1/6 is torch's own, in one step.
        gate = F.hardsigmoid(gate) if self.gate_slope == 1 / 6 else (self.gate_slope * gate + 0.5).clamp(0, 1)
        gate = gate[:, None, None]
        return (x * gate if torch.is_grad_enabled() else x.mul_(gate)), {"mean": last}


class StreamBottleneck(nn.Module):
    """:class:`~vidcore_movinet.layers.Bottleneck` of a stream network.

    Args:
        in_channels: Channels of the input.
        expand: Channels of the depthwise convolution.
        out_channels: Channels of the output.
        kernel: Of the depthwise convolution (time, height, width).
        stride: Spatial stride of the depthwise convolution and of the skip connection.
        drop: Probability with which training leaves the residual branch of a sample out (stochastic depth).
        factorised: (2+1)D, a convolution in space and one over time; otherwise one in three dimensions.
        position: Whether squeeze-excitation sees the frame's number.
        gate_slope: Of squeeze-excitation.
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
        self.expand = expand
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

    def forward(self, x: Tensor, state: State, numbers: Tensor) -> tuple[Tensor, State]:
        """From frames (B·T, H, W, C), the layer's state and the frames' numbers (B·T, 1), from 1, to the same."""
        residual, after = self.expansion(x), {}
        if self.feature is not None:
            residual = self.feature(residual)
        if self.temporal is not None:
            residual, after = self.temporal(residual, state)
        residual, mean = self.se(residual, state, numbers)
        if self.scale is None:  # folded: see `folding.py`
            return add_pointwise(self.skip(x), residual, self.projection.weight), {**after, **mean}
        residual = self.scale * self.projection(residual)
        if self.training:  # a sample is all frames of a row
            residual = self.drop(residual.unflatten(0, (len(state["mean"]), -1))).flatten(0, 1)
        return self.skip(x) + residual, {**after, **mean}

    def shapes(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Of the state of one row, given the size (height, width) of the input."""
        shapes: dict[str, tuple[int, ...]] = {"mean": (self.expand,)}
        if self.temporal is not None:
            buffered = self.output_size(size) if self.feature is not None else size
            shapes |= dict.fromkeys(self.temporal.state_names, (*buffered, self.expand))
        return shapes

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output, given those of the input."""
        height, width = size
        return (-(-height // 2), -(-width // 2)) if "pool" in self.skip._modules else size
