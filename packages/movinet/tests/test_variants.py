"""Tables of variants, compared with published and independently counted figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vidcore.errors import UserError
from vidcore.streaming import Streaming
from vidcore.task import Task
from vidcore_movinet.module import MoViNetModule
from vidcore_movinet.network import MoViNet
from vidcore_movinet.variants import VARIANTS, Block, find_variant

# GMACs of the variant's clip in convolutions, number of running statistics, and number of layers, counted with another
# implementation.
COUNTED = {
    "a0": (2.631, 14_272, 15),
    "a1": (5.866, 27_616, 24),
    "a2": (11.558, 31_360, 26),
    "a3": (55.593, 45_744, 33),
    "a4": (103.339, 73_264, 47),
    "a5": (276.334, 112_832, 59),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_with_600_classes(name: str) -> None:
    with torch.device("meta"):
        net = MoViNet(name)
    assert sum(p.numel() for p in net.parameters()) == VARIANTS[name].params


@pytest.mark.parametrize(("name", "counted"), COUNTED.items())
def test_counts(name: str, counted: tuple[float, int, int]) -> None:
    gmacs, statistics, depth = counted
    variant = find_variant(name)
    with torch.device("meta"):
        net = MoViNet(name).eval()
        clip = torch.empty(1, 3, variant.frames, variant.size, variant.size)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(clip)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=1e-3)
    assert sum(b.numel() for key, b in net.named_buffers() if "running" in key) == statistics
    assert len(net.layers) == depth


# GMACs of the variant's clip in the stream network, counted with another implementation.
STREAM_GMACS = {"a0": 2.426, "a1": 5.540, "a2": 10.700, "a3": 52.134, "a4": 96.741, "a5": 261.710}


def test_family_of_stream_networks() -> None:
    """Compare GMACs per clip and per frame and the size of the state with ``vid flops``."""
    rows = {row["variant"]: row for row in MoViNetModule(Task.numbered(600), stream=True).family()}
    assert set(rows) == set(VARIANTS)
    for name, gmacs in STREAM_GMACS.items():
        assert rows[name]["gmacs"] == pytest.approx(gmacs, rel=1e-3)
        assert rows[name]["gmacs_frame"] == pytest.approx(gmacs / VARIANTS[name].frames, rel=0.03)
    assert rows["a2"]["state_bytes"] == 4 * (2_707_088 + 1)


def test_counted_macs_equal_those_of_the_family() -> None:
    for stream in (False, True):
        module = MoViNetModule(Task.numbered(600), variant="t0", stream=stream)
        assert module.costs()["model"] / 1e9 == pytest.approx(module.family()[0]["gmacs"])
        assert isinstance(module, Streaming) == stream


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"dropout": 0.1, "linear_probe": True}, True),
        ({"variant": "a1", "stream": True}, True),
        ({"variant": "a1", "stream": True, "head": "hard_swish"}, True),
        ({"variant": "a0", "stream": True, "gate_slope": 0.2}, True),
        ({"variant": "a0", "stream": True, "head": "hard_swish"}, False),
        ({"variant": "a1", "stream": True, "gate_slope": 0.3}, False),
        ({"task": Task.numbered(599)}, False),
        ({"clip": {"frames": 16}}, False),
        ({"clip": {"size": 160}}, False),
        ({"clip": {"fps": 10}}, False),
        ({"clip": {"mean": [0.5, 0.5, 0.5]}}, False),
    ],
)
def test_options_that_change_the_network_hide_published_figures(options: dict[str, Any], same: bool) -> None:
    module = MoViNetModule(**{"task": Task.numbered(600), **options})
    assert bool(module.published()) == same
    if same:
        assert module.published()["parameters"] == module.num_parameters()


def test_the_family_is_as_published_for_any_classes_and_clip() -> None:
    rows = MoViNetModule(Task.numbered(5), clip={"frames": 2, "size": 32}).family()
    assert [row["parameters"] for row in rows] == [VARIANTS[row["variant"]].params for row in rows]


@pytest.mark.parametrize(("name", "fps"), [("a0", 5), ("a1", 5), ("a2", 5), ("a3", 12.5), ("a4", 25 / 3), ("a5", 12.5)])
def test_clip_rates(name: str, fps: float) -> None:
    assert find_variant(name).fps == pytest.approx(fps)


def test_unknown_variant() -> None:
    with pytest.raises(UserError, match=r"variant must be one of .*a0.*a5, got 'a6'"):
        find_variant("a6")
    with pytest.raises(UserError, match=r"variant must be one of .*a0.*a5, got 'a6'"):
        MoViNet("a6")


def test_blocks_need_a_kernel_per_layer() -> None:
    with pytest.raises(ValueError, match="one entry per layer, got 2 and 1"):
        Block(8, (16, 16), ((1, 3, 3),))
