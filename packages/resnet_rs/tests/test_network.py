"""Building blocks and network, compared with direct computation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidcore.errors import UserError
from vidcore_resnet_rs.layers import Bottleneck, SelfGating
from vidcore_resnet_rs.network import ResNetRS3D


def randomise(net: nn.Module) -> nn.Module:
    """Draw random statistics and weights of batch normalisation, which are 0 and 1 in a new network."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
    return net


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return randomise(ResNetRS3D(50, num_classes=5)).eval()


@pytest.mark.parametrize("position", ["before_se", "after_se"])
def test_bottleneck_by_hand(position: str) -> None:
    layer = randomise(Bottleneck(8, 4, temporal_kernel=3, stride=2, gating=True, gating_position=position)).eval()
    x = torch.randn(2, 8, 3, 5, 7)

    def norm(y: Tensor, bn: nn.Module) -> Tensor:
        shape = (1, -1, 1, 1, 1)
        y = (y - bn.running_mean.view(shape)) / torch.sqrt(bn.running_var.view(shape) + 1e-5)
        return y * bn.weight.view(shape) + bn.bias.view(shape)

    def gated(y: Tensor) -> Tensor:
        gate = layer.attention.gating.linear(y.flatten(2).mean(2)).sigmoid()
        return y * gate[:, :, None, None, None]

    def squeezed(y: Tensor) -> Tensor:
        se = layer.attention.se
        return y * se.expand(se.reduce(y.flatten(2).mean(2)).relu()).sigmoid()[:, :, None, None, None]

    y = norm(F.conv3d(x, layer.temporal.conv.weight, padding=(1, 0, 0)), layer.temporal.bn).relu()
    y = norm(F.conv3d(y, layer.spatial.conv.weight, stride=(1, 2, 2), padding=(0, 1, 1)), layer.spatial.bn).relu()
    y = norm(F.conv3d(y, layer.pointwise.conv.weight), layer.pointwise.bn)
    y = squeezed(gated(y)) if position == "before_se" else gated(squeezed(y))
    shortcut = norm(F.conv3d(x, layer.shortcut.conv.weight, stride=(1, 2, 2)), layer.shortcut.bn)
    torch.testing.assert_close(layer(x), (y + shortcut).relu())


def test_se_ratio_is_a_share_of_the_output_channels() -> None:
    assert Bottleneck(16, 8).attention.se.reduce.out_features == 8


@pytest.mark.parametrize(("gating", "number"), [("last", 4), ("all", 16), ("none", 0)])
def test_which_bottlenecks_have_self_gating(gating: str, number: int) -> None:
    with torch.device("meta"):
        net = ResNetRS3D(50, gating=gating)
    assert sum(isinstance(module, SelfGating) for module in net.modules()) == number
    if gating == "last":
        assert all(hasattr(stage[-1].attention, "gating") for stage in net.stages)


def test_temporal_kernels() -> None:
    def kernels(**options: object) -> list[list[int]]:
        with torch.device("meta"):
            net = ResNetRS3D(50, **options)
        return [[block.temporal.conv.kernel_size[0] for block in stage] for stage in net.stages]

    assert kernels() == [[1] * 3, [1] * 4, [3] * 6, [3] * 3]
    mixed = kernels(temporal_kernels=((3,), (3, 1), (3, 1), (1, 3)))
    assert mixed == [[3, 3, 3], [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]


def test_stochastic_depth_by_stage() -> None:
    with torch.device("meta"):
        net = ResNetRS3D(50, stochastic_depth=0.1)
    rates = [{block.drop.p for block in stage} for stage in net.stages]
    assert [pytest.approx(0.02 * (stage + 2)) for stage in range(4)] == [rate for (rate,) in rates]


@pytest.mark.parametrize(("stem", "pool", "out"), [("v1", 1, 4), ("v0", 1, 4), ("v1", 2, 2), ("v0", 2, 2)])
def test_sizes(stem: str, pool: int, out: int) -> None:
    found = []
    with torch.device("meta"):
        net = ResNetRS3D(50, 5, stem=stem, pool_temporal_stride=pool)
        for stage in net.stages:
            stage[-1].register_forward_hook(lambda _, __, output: found.append(tuple(output.shape)))
        assert net(torch.empty(2, 3, 8, 64, 64)).shape == (2, 5)
    assert found == [(2, 256, out, 16, 16), (2, 512, out, 8, 8), (2, 1024, out, 4, 4), (2, 2048, out, 2, 2)]


@pytest.mark.parametrize(
    "options",
    [{"stem": "v2"}, {"gating": "first"}, {"gating_position": "inside"}, {"pool_temporal_stride": 3}],
)
def test_errors_name_the_allowed_values(options: dict[str, object]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(UserError, match=rf"{name} must be one of .*, got {value!r}"):
        ResNetRS3D(50, **options)


@pytest.mark.parametrize("kernels", [((1,), (1,), (3,)), ((1,), (1,), (3,), (2,))])
def test_invalid_temporal_kernels(kernels: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(UserError, match="temporal_kernels must be 4 lists of odd numbers"):
        ResNetRS3D(50, temporal_kernels=kernels)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    net = ResNetRS3D(50, bn_momentum=0.3)
    spatial = net.stages[3][1].spatial.conv.weight.detach()
    assert spatial.std() == pytest.approx((1 / (9 * 512)) ** 0.5, rel=0.02)
    assert net.stages[3][2].attention.gating.linear.weight.detach().std() == pytest.approx(0.0088, rel=0.02)
    classifier = net.classifier.weight.detach()
    assert 0.0499 < classifier.abs().max() <= 0.05
    assert {module.momentum for module in net.modules() if isinstance(module, nn.BatchNorm3d)} == {0.3}


def test_rows_do_not_mix(small: nn.Module) -> None:
    clips = torch.rand(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(small(clips), torch.cat([small(clip[None]) for clip in clips]), rtol=1e-4, atol=1e-5)


def test_logits_are_classified_features(small: nn.Module) -> None:
    clip = torch.rand(1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(small(clip), small.classifier(small.features(clip)))
        assert small.features(clip).shape == (1, small.num_features)


def test_checkpointing_changes_memory_only() -> None:
    plain = randomise(ResNetRS3D(50, num_classes=3, stochastic_depth=0.5)).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.checkpointing = True
    clips = torch.rand(4, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    saved: dict[bool, int] = {}
    for net in (plain, checkpointed):
        saved[net.checkpointing] = 0

        def keep(x: Tensor, checkpointing: bool = net.checkpointing) -> Tensor:
            saved[checkpointing] += x.numel()
            return x

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            loss = net(clips).square().sum()
        loss.backward()
    for (name, mine), other in zip(checkpointed.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, msg=lambda text, name=name: f"{name}: {text}")
    norms = [
        [module for module in net.modules() if isinstance(module, nn.BatchNorm3d)] for net in (plain, checkpointed)
    ]
    for one, two in zip(*norms, strict=True):
        torch.testing.assert_close(one.running_mean, two.running_mean)
        torch.testing.assert_close(one.running_var, two.running_var)
        assert one.momentum == two.momentum
    assert saved[True] < saved[False] / 2


def test_gradients_reach_all_parameters(small: nn.Module) -> None:
    net = copy.deepcopy(small).train()
    F.cross_entropy(net(torch.rand(2, 3, 4, 32, 32)), torch.tensor([0, 4])).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
