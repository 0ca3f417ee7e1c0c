"""Building blocks and network, compared with direct computation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidcore.errors import UserError
from vidcore_movinet.layers import Bottleneck, SamePool, squeeze_width
from vidcore_movinet.network import MoViNet


def randomise(net: nn.Module) -> nn.Module:
    """Draw random scales of the residual branches and random batch normalisation."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, Bottleneck):
            nn.init.uniform_(module.scale, 0.3, 0.7)
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
    return net


@pytest.fixture(scope="module")
def a0() -> nn.Module:
    return randomise(MoViNet("a0", num_classes=7)).eval()


@pytest.mark.parametrize("height", range(1, 10))
@pytest.mark.parametrize("width", [1, 2, 3, 6, 7])
def test_pooling_excludes_padding_from_the_average(height: int, width: int) -> None:
    x = torch.randn(1, 2, 2, height, width, generator=torch.Generator().manual_seed(0))

    def windows(n: int) -> list[slice]:
        begin = max(3 - (n % 2 or 2), 0) // 2
        return [slice(max(2 * i - begin, 0), min(2 * i - begin + 3, n)) for i in range(math.ceil(n / 2))]

    expected = [[x[..., rows, columns].mean((3, 4)) for columns in windows(width)] for rows in windows(height)]
    torch.testing.assert_close(SamePool()(x), torch.stack([torch.stack(row, -1) for row in expected], -2))


@pytest.mark.parametrize(("expand", "width"), [(16, 8), (24, 8), (40, 16), (112, 32), (184, 48), (344, 88), (896, 224)])
def test_squeeze_width(expand: int, width: int) -> None:
    assert squeeze_width(expand) == width


def test_bottleneck_by_hand() -> None:
    layer = randomise(Bottleneck(4, 16, 6, (3, 3, 3), stride=2)).eval()
    x = torch.randn(2, 4, 3, 5, 7)

    def norm(y: Tensor, bn: nn.Module) -> Tensor:
        shape = (1, -1, 1, 1, 1)
        y = (y - bn.running_mean.view(shape)) / torch.sqrt(bn.running_var.view(shape) + 1e-3)
        return y * bn.weight.view(shape) + bn.bias.view(shape)

    def pointwise(y: Tensor, weight: Tensor) -> Tensor:
        return torch.einsum("bcthw,oc->bothw", y, weight.flatten(1))

    y = F.silu(norm(pointwise(x, layer.expansion.conv.weight), layer.expansion.bn))
    y = F.conv3d(y, layer.feature.conv.weight, stride=(1, 2, 2), padding=1, groups=16)  # both sizes are odd
    y = F.silu(norm(y, layer.feature.bn))
    gate = layer.se.expand(F.silu(layer.se.reduce(y.flatten(2).mean(2)))).sigmoid()
    y = norm(pointwise(y * gate[:, :, None, None, None], layer.projection.conv.weight), layer.projection.bn)
    skip = norm(pointwise(SamePool()(x), layer.skip.project.conv.weight), layer.skip.project.bn)
    torch.testing.assert_close(layer(x), skip + layer.scale * y)


def test_layers_of_the_skip_connection() -> None:
    with torch.device("meta"):
        layers = MoViNet("a3").layers
    assert set(layers.b0_l0.skip._modules) == {"pool", "project"}  # stride 2, same width
    assert set(layers.b0_l1.skip._modules) == set()
    assert set(layers.b3_l0.skip._modules) == {"project"}  # wider, stride 1


def test_stochastic_depth_rises_linearly_and_drops_samples() -> None:
    net = randomise(MoViNet("a0", stochastic_depth=0.3))
    rates = [layer.drop.p for layer in net.layers]
    assert rates == pytest.approx([0.3 * (i + 1) / 15 for i in range(15)])
    layer = randomise(Bottleneck(4, 16, 4, (1, 3, 3), drop=0.5)).train()
    x = torch.rand(4, 4, 2, 4, 4).repeat(16, 1, 1, 1, 1)
    residual = layer(x) - x
    kept = residual.flatten(1).abs().sum(1) > 0
    assert 10 < kept.sum() < 54
    layer.drop.p = 0.0
    torch.testing.assert_close(residual[kept], 2 * (layer(x) - x)[kept])


def test_initial_weights() -> None:
    torch.manual_seed(0)
    net = MoViNet("a0", bn_momentum=0.07)
    assert all(layer.scale == 0 for layer in net.layers)
    for weight, fan_in in ((net.layers.b4_l0.feature.conv.weight, 45), (net.layers.b4_l0.expansion.conv.weight, 56)):
        std = math.sqrt(2 / fan_in)
        assert weight.detach().std() == pytest.approx(std, rel=0.05)
        assert weight.abs().max() < 2 * std / 0.8796 + 1e-6
    assert net.classifier.weight.detach().std() == pytest.approx(0.01, rel=0.02)
    assert not net.classifier.bias.any() and not net.dense.bias.any()
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm3d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.07)}


def test_default_dropout_is_the_variants() -> None:
    with torch.device("meta"):
        assert MoViNet("a0").dropout.p == 0.2
        assert MoViNet("a1").dropout.p == 0.5
        assert MoViNet("a1", dropout=0.0).dropout.p == 0.0


@pytest.mark.parametrize("size", [(1, 32, 32), (3, 35, 37), (2, 172, 96), (5, 17, 90), (1, 1, 1)])
def test_any_size(a0: nn.Module, size: tuple[int, int, int]) -> None:
    shapes = []
    handle = a0.layers[-1].register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    with torch.no_grad():
        logits = a0(torch.rand(2, 3, *size))
    handle.remove()
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()
    assert shapes == [(2, 104, size[0], math.ceil(size[1] / 32), math.ceil(size[2] / 32))]


def test_rows_do_not_mix(a0: nn.Module) -> None:
    clips = torch.rand(3, 3, 4, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(a0(clips), torch.cat([a0(clip[None]) for clip in clips]), rtol=1e-4, atol=1e-5)


def test_logits_depend_on_the_order_of_frames(a0: nn.Module) -> None:
    clips = torch.rand(1, 3, 6, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (a0(clips) - a0(clips.flip(2))).abs().max() > 1e-5


def test_gradients_reach_all_parameters() -> None:
    net = randomise(MoViNet("a0", num_classes=5)).train()
    F.cross_entropy(net(torch.rand(2, 3, 5, 40, 40)), torch.tensor([0, 4])).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("shape", [(3, 4, 32, 32), (1, 4, 3, 32, 32), (1, 1, 4, 32, 32)])
def test_wrong_shapes(a0: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"\(B, 3, T, H, W\), got \(" + ", ".join(map(str, shape))):
        a0(torch.rand(shape))


def test_folded_network_computes_the_same_without_batch_normalisation(a0: MoViNet) -> None:
    folded = a0.folded()
    clip = torch.rand(2, 3, 3, 33, 40)
    with torch.no_grad():
        expected, got = a0(clip), folded(clip)
    assert not [module for module in folded.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    assert not [name for name, _ in folded.named_parameters() if name.endswith("layers.b0_l0.scale")]
    assert float((got - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    assert [module for module in a0.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
