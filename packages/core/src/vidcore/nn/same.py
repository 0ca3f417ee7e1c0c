"""Convolution and pooling with TensorFlow's "same" padding, as published networks were trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv3d_weight

Kernel = tuple[int, int, int]
"""Sizes in time, height and width."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's "same" padding of one axis: zeros before and after, for ``ceil(size / stride)`` outputs.

    It depends on the size: with stride 2, an even size is padded by one more zero at the end than at the start.
    """
    total = max(kernel - (size % stride or stride), 0)
    return total // 2, total - total // 2


class SameConv3d(nn.Conv3d):
    """3D convolution with TensorFlow's "same" padding for any input size."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C', T', H', W'); each size is divided by its stride and rounded up."""
        pads = [same_padding(*axis) for axis in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)]
        # The convolution pads symmetrically without a copy; pad explicitly only what differs between both ends.
        extra = [zeros for begin, end in reversed(pads) for zeros in (0, end - begin)]
        if any(extra):
            x = F.pad(x, extra)
        weight = self.weight
        if x.device.type == "cpu":  # training on CPU is about twice as fast in channels-last format
            x = x.contiguous(memory_format=torch.channels_last_3d)
            weight = weight.contiguous(memory_format=torch.channels_last_3d)
        padding = [begin for begin, _ in pads]
        if x.device.type == "cpu" and x.requires_grad and torch.is_grad_enabled():
            if self.groups == 1 and self.kernel_size[0] > 1 and self.kernel_size[1:] == self.stride[1:] == (1, 1):
                return _over_time(x, weight, self.stride[0], padding[0])
            if self.groups == x.shape[1] > 1:
                if torch.is_autocast_enabled("cpu"):  # backward runs outside autocast and needs equal dtypes
                    x, weight = (value.to(torch.get_autocast_dtype("cpu")) for value in (x, weight))
                return _DepthwiseOnCpu.apply(x, weight, self.stride, padding)
        return F.conv3d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups)


def _over_time(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Compute a convolution over time only as a 2D convolution over time and flattened pixels.

    PyTorch's own kernel gradient is wrong in bfloat16 (oneDNN, kernel of three frames on two frames), and takes 1.5
    times as long on one thread.
    """
    flat = x.flatten(3).contiguous(memory_format=torch.channels_last)
    kernel = weight.squeeze(-1).contiguous(memory_format=torch.channels_last)
    return F.conv2d(flat, kernel, None, (stride, 1), (padding, 0)).unflatten(3, x.shape[3:])


class _DepthwiseOnCpu(torch.autograd.Function):
    """Depthwise convolution whose input gradient is a forward convolution with the flipped kernel.

    PyTorch's own gradient takes 4 to 10 times as long, half of a training step. The kernel gradient is computed in
    float32: in bfloat16, oneDNN's is garbage if the kernel is longer than the clip.
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
        wide = torch.promote_types(x.dtype, torch.float32)
        grad_weight = conv3d_weight(x.to(wide), weight.shape, grad.to(wide), stride, padding, groups=groups)
        grad_weight = grad_weight.to(weight.dtype)
        kernel = weight.shape[2:]
        # Insert zeros between the values of the gradient according to the stride, then pad it such that the full
        # correlation has the size of the input.
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


class SameMaxPool3d(nn.Module):
    """Max pooling over 3 neighbours with stride 2 along some axes, with TensorFlow's "same" padding.

    Padded values never are the maximum.

    Args:
        axes: Whether to pool along time, height and width. Default: height and width.
    """

    def __init__(self, axes: tuple[bool, bool, bool] = (False, True, True)) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C', T', H', W'); pooled sizes are halved and rounded up."""
        sizes = list(zip(x.shape[2:], self.axes, strict=True))
        # `ceil_mode` pads at the end, which is all that an even size needs; PyTorch requires windows no larger than the
        # input.
        kernel = [min(size, 3) if pooled else 1 for size, pooled in sizes]
        padding = [size % 2 if pooled and size >= 3 else 0 for size, pooled in sizes]
        stride = [2 if pooled else 1 for _, pooled in sizes]
        return F.max_pool3d(x, kernel, stride, padding, ceil_mode=True)
