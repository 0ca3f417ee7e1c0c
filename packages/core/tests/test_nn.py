"""The shared building blocks against direct computation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vidcore.errors import UserError
from vidcore.nn import (
    ConvNorm,
    SameConv3d,
    SameMaxPool3d,
    SqueezeExcite,
    check_clip,
    draw_weights,
    same_padding,
    set_bn_momentum,
    variance_scaling_,
)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3), (5, 3, 3), (1, 5, 5), (3, 1, 1), (5, 7, 7)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("size", [(4, 7, 7), (3, 8, 9), (1, 6, 6), (2, 1, 2)])
def test_same_convolution(kernel, stride, size, groups) -> None:
    torch.manual_seed(0)
    conv = SameConv3d(2, 4, kernel, stride, groups=groups, bias=False)
    x = torch.randn(2, 2, *size)
    out = [math.ceil(n / s) for n, s in zip(size, stride, strict=True)]
    # TensorFlow documents: pad_along = max((out - 1) * stride + kernel - in, 0), the odd zero at the end.
    total = [max((o - 1) * s + k - n, 0) for o, s, k, n in zip(out, stride, kernel, size, strict=True)]
    padded = F.pad(x, [p for t in reversed(total) for p in (t // 2, t - t // 2)])
    expected = F.conv3d(padded, conv.weight, stride=stride, groups=groups)
    assert list(expected.shape[2:]) == out
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("kernel", [(1, 5, 5), (3, 3, 3), (5, 3, 3)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(4, 8, 8), (5, 7, 9), (1, 1, 3), (2, 6, 5)])
def test_gradients_of_the_depthwise_convolution_are_pytorchs(kernel, stride, size) -> None:
    torch.manual_seed(0)
    conv = SameConv3d(6, 6, kernel, (1, stride, stride), groups=6, bias=False).double()
    x = torch.randn(2, 6, *size, dtype=torch.double, requires_grad=True)
    y = conv(x)
    grad = torch.randn_like(y)
    ours = torch.autograd.grad(y, (x, conv.weight), grad)
    pads = [same_padding(*axis) for axis in zip(size, kernel, (1, stride, stride), strict=True)]
    padded = F.pad(x, [zeros for ends in reversed(pads) for zeros in ends])
    reference = F.conv3d(padded, conv.weight, None, (1, stride, stride), groups=6)
    torch.testing.assert_close(y, reference)
    theirs = torch.autograd.grad(reference, (x, conv.weight), grad)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 1, 1)])
@pytest.mark.parametrize("size", [(1, 3, 3), (2, 2, 2), (2, 1, 1), (4, 5, 2), (5, 3, 3)])
def test_gradients_of_the_convolution_over_time(stride, size, autocast) -> None:
    torch.manual_seed(0)
    conv = SameConv3d(64, 32, (3, 1, 1), stride, bias=False)
    x = torch.randn(2, 64, *size, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = conv(x)
    grad = torch.randn_like(y)
    ours = torch.autograd.grad(y, (x, conv.weight), grad)
    begin, end = same_padding(size[0], 3, stride[0])
    exact, weight = x.detach().double().requires_grad_(), conv.weight.detach().double().requires_grad_()
    reference = F.conv3d(F.pad(exact, (0, 0, 0, 0, begin, end)), weight, None, stride)
    theirs = torch.autograd.grad(reference, (exact, weight), grad.double())
    for mine, other in zip((y, *ours), (reference, *theirs), strict=True):
        near = 0.02 if autocast else 1e-5
        torch.testing.assert_close(mine.double(), other, rtol=0, atol=near * other.abs().max().item())


@pytest.mark.parametrize("kernel", [(3, 3, 3), (5, 3, 3)])
@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_gradients_of_the_depthwise_convolution_in_mixed_precision(kernel, frames) -> None:
    torch.manual_seed(0)
    conv = SameConv3d(24, 24, kernel, groups=24, bias=False)
    x = torch.randn(2, 24, frames, 4, 4, requires_grad=True)
    grad = torch.randn_like(x)
    with torch.autocast("cpu", torch.bfloat16):
        ours = torch.autograd.grad(conv(x), (x, conv.weight), grad.bfloat16())
    theirs = torch.autograd.grad(conv(x), (x, conv.weight), grad)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0.02 * other.abs().max().item())


@pytest.mark.parametrize("axes", [(False, True, True), (True, True, True)])
@pytest.mark.parametrize("size", [(4, 8, 9), (3, 7, 6), (1, 1, 5), (2, 2, 3)])
def test_same_maximum(axes, size) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    pads = [same_padding(n, 3, 2) if pooled else (0, 0) for n, pooled in zip(size, axes, strict=True)]
    padded = F.pad(x, [p for ends in reversed(pads) for p in ends], value=-torch.inf)
    kernel, stride = [[n if pooled else 1 for pooled in axes] for n in (3, 2)]
    torch.testing.assert_close(SameMaxPool3d(axes)(x), F.max_pool3d(padded, kernel, stride))


def test_conv_norm() -> None:
    torch.manual_seed(0)
    layer = ConvNorm(3, 4, (1, 3, 3), (1, 2, 2), eps=0.1).eval()
    nn.init.uniform_(layer.bn.running_var, 1, 2)
    x = torch.randn(2, 3, 2, 5, 5)
    y = (
        F.conv3d(x, layer.conv.weight, None, (1, 2, 2), (0, 1, 1))
        / (layer.bn.running_var + 0.1).sqrt()[:, None, None, None]
    )
    torch.testing.assert_close(layer(x), y.relu())
    assert ConvNorm(3, 4, activation=None)(x).min() < 0


def test_squeeze_excite() -> None:
    torch.manual_seed(0)
    layer = SqueezeExcite(4, 2, nn.SiLU)
    x = torch.randn(2, 4, 3, 5, 5)
    gate = torch.sigmoid(layer.expand(F.silu(layer.reduce(x.flatten(2).mean(2)))))
    torch.testing.assert_close(layer(x), x * gate[:, :, None, None, None])


@pytest.mark.parametrize("scale", [1, 2])
def test_variance_scaling(scale: float) -> None:
    torch.manual_seed(0)
    weight = torch.empty(512, 64, 1, 3, 3)
    variance_scaling_(weight, scale)
    assert weight.var() == pytest.approx(scale / 576, rel=0.02)
    assert weight.abs().max() <= 2 * math.sqrt(scale / 576) / 0.8796


def test_new_weights() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(64, 64, 3), nn.BatchNorm3d(64), nn.Linear(64, 64), nn.LayerNorm(64))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 7)
    draw_weights(network, 2)
    conv, norm, linear, other = network
    assert conv.weight.detach().var() == pytest.approx(2 / (64 * 27), rel=0.05)
    assert linear.weight.detach().var() == pytest.approx(2 / 64, rel=0.1)
    assert not conv.bias.any() and not linear.bias.any() and not norm.bias.any()
    assert (norm.weight == 1).all()
    assert (other.weight == 7).all()


def test_momentum() -> None:
    network = nn.Sequential(nn.BatchNorm3d(2), nn.Sequential(nn.BatchNorm1d(2)), nn.LayerNorm(2))
    set_bn_momentum(network, 0.3)
    assert [network[0].momentum, network[1][0].momentum] == [0.3, 0.3]


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (1, 4, 3, 8, 8)])
def test_wrong_clips_are_named(shape: tuple[int, ...]) -> None:
    check_clip(torch.zeros(1, 3, 4, 8, 8), "Net")
    with pytest.raises(UserError, match=r"Net expects clips of shape \(B, 3, T, H, W\), got"):
        check_clip(torch.zeros(shape), "Net")
