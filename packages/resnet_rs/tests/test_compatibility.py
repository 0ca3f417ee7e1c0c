"""Networks of version 0.1.0 and of this version have the same parameters and compute the same logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recorded import filled, names
from torch import nn

from vidcore_resnet_rs import BLOCKS, ResNetRS3D

RECORDS = json.loads(Path(__file__).with_name("networks_0_1_0.json").read_text())
"""By network: SHA-256 of the names and shapes in its state dict, and its logits, computed with version 0.1.0."""

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "cvrl": {"stem": "v0", "se_ratio": 0, "gating": "none"},
    "paper text": {"gating": "all", "gating_position": "after_se"},
    "two temporal strides": {"pool_temporal_stride": 2},
    "temporal kernels": {"temporal_kernels": ((3,), (1, 3), (5, 1), (3,)), "se_ratio": 0.1},
}


def record(net: nn.Module) -> dict[str, Any]:
    """Compute an entry of :data:`RECORDS`."""
    clip = np.random.RandomState(0).uniform(0, 1, (2, 3, 5, 40, 33))
    with torch.no_grad():
        logits = filled(net)(torch.from_numpy(clip))
    return {"names": names(net), "logits": logits.tolist()}


def small(monkeypatch: pytest.MonkeyPatch, name: str) -> nn.Module:
    """Build a network of few bottlenecks, of each kind at least one."""
    monkeypatch.setitem(BLOCKS, 17, (1, 1, 2, 1))
    return ResNetRS3D(**{"depth": 17, "num_classes": 3, **OPTIONS[name]})


@pytest.mark.parametrize("name", OPTIONS)
def test_parameters_and_logits_equal_those_of_version_0_1_0(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    found, expected = record(small(monkeypatch, name)), RECORDS[name]
    assert found["names"] == expected["names"]
    torch.testing.assert_close(torch.tensor(found["logits"]), torch.tensor(expected["logits"]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("depth", [50, 350])
def test_names_and_shapes_equal_those_of_version_0_1_0(depth: int) -> None:
    with torch.device("meta"):
        assert names(ResNetRS3D(depth=depth)) == RECORDS[f"depth {depth}"]["names"]
