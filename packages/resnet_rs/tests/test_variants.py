"""Tables of variants, compared with published and independently counted figures."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vidcore.errors import UserError
from vidcore_resnet_rs.network import ResNetRS3D
from vidcore_resnet_rs.variants import BLOCKS, LADDER, Step, macs, scaled

# With 400 classes: default; without self-gating; self-gating in all; without self-gating and squeeze-excitation.
PARAMETERS = {
    50: (48_129_840, 42_555_440, 62_690_096, 32_476_784),
    101: (84_969_520, 79_395_120, 117_372_976, 60_381_808),
    152: (114_788_144, 109_213_744, 161_887_024, 82_841_200),
    200: (121_376_560, 115_802_160, 172_677_936, 87_322_224),
    270: (169_038_064, 163_463_664, 243_758_064, 123_257_712),
    300: (174_087_536, 168_513_136, 251_695_728, 126_859_632),
    350: (213_094_256, 207_519_856, 309_595_248, 156_406_128),
}
OPTIONS = ({}, {"gating": "none"}, {"gating": "all"}, {"gating": "none", "se_ratio": 0})

# GMACs per clip by depth, frames and size, counted with another implementation.
COUNTED = {
    50: {(32, 224): 88.0, (32, 256): 115.0, (48, 224): 132.0, (48, 256): 172.4},
    101: {(32, 224): 175.4, (32, 256): 229.1, (48, 224): 263.1, (48, 256): 343.6},
    152: {(32, 224): 256.2, (32, 256): 334.6, (48, 224): 384.2, (48, 256): 501.8},
    200: {(32, 224): 312.1, (32, 256): 407.6, (48, 224): 468.1, (48, 256): 611.4},
    270: {(32, 224): 425.5, (32, 256): 555.8, (48, 224): 638.3, (48, 256): 833.6},
    300: {(32, 224): 455.1, (32, 256): 594.4, (48, 224): 682.7, (48, 256): 891.6},
    350: {(32, 224): 547.6, (32, 256): 715.2, (48, 224): 821.4, (48, 256): 1072.8},
}
HALVED = {50: 47.2, 101: 90.9, 152: 131.3, 200: 159.3}
"""GMACs of 32 frames of 224² with a temporal stride of 2 in the pooling layer, by depth."""


def counted(net: ResNetRS3D, frames: int, size: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.empty(1, 3, frames, size, size, device="meta"))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("depth", BLOCKS)
def test_parameters(depth: int) -> None:
    with torch.device("meta"):
        nets = [ResNetRS3D(depth, **options) for options in OPTIONS]
        of_600 = ResNetRS3D(depth, num_classes=600)
    assert tuple(sum(p.numel() for p in net.parameters()) for net in nets) == PARAMETERS[depth]
    assert sum(p.numel() for p in of_600.parameters()) == PARAMETERS[depth][0] + 409_800


@pytest.mark.parametrize("depth", BLOCKS)
def test_macs(depth: int) -> None:
    for (frames, size), gmacs in COUNTED[depth].items():
        assert macs(depth, frames, size) / 1e9 == pytest.approx(gmacs, abs=0.051)
    with torch.device("meta"):
        net = ResNetRS3D(depth)
    assert counted(net, 32, 224) == macs(depth, 32, 224)


@pytest.mark.parametrize(("frames", "size"), [(48, 256), (9, 75), (7, 33), (1, 1)])
def test_closed_form_equals_counted_macs(frames: int, size: int) -> None:
    with torch.device("meta"):
        assert counted(ResNetRS3D(50, 11), frames, size) == macs(50, frames, size, 11)
        assert counted(ResNetRS3D(50, 11, pool_temporal_stride=2), frames, size) == macs(50, frames, size, 11, 2)


@pytest.mark.parametrize(("depth", "gmacs"), HALVED.items())
def test_macs_with_two_temporal_strides(depth: int, gmacs: float) -> None:
    assert macs(depth, 32, 224, pool_temporal_stride=2) / 1e9 == pytest.approx(gmacs, abs=0.051)


def test_backbone_of_the_contrastive_paper() -> None:
    with torch.device("meta"):
        net = ResNetRS3D(50, 0, stem="v0", se_ratio=0, gating="none")
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(31.67, abs=0.005)
    assert counted(net, 32, 224) / 1e9 == pytest.approx(91.0, abs=0.051)
    assert counted(net, 16, 224) / 1e9 == pytest.approx(45.5, abs=0.051)


def test_cost_grows_along_the_ladder() -> None:
    costs = [macs(step.depth, step.frames, 224) for step in LADDER]
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    ("gmacs", "depth", "frames"), [(88.1, 50, 32), (175, 50, 32), (200, 101, 32), (312.2, 200, 32), (10_000, 200, 48)]
)
def test_scaled(gmacs: float, depth: int, frames: int) -> None:
    step = scaled(gmacs)
    assert isinstance(step, Step)
    assert (step.depth, step.frames) == (depth, frames)


def test_scaled_at_another_size() -> None:
    assert scaled(120, size=256).depth == 50
    with pytest.raises(UserError, match=r"gmacs must be at least 115.0 .*256²\), got 88.1"):
        scaled(88.1, size=256)


def test_unknown_depth() -> None:
    with pytest.raises(UserError, match=r"depth must be one of 50, 101, .*350, got 51"):
        ResNetRS3D(51)
