"""Networks of version 0.1.0 and of today have the same parameters and give the same logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recorded import filled, names
from torch import nn

from vidcore_adafocus import AdaFocusNet

RECORDS = json.loads(Path(__file__).with_name("networks_0_1_0.json").read_text())
"""By network: SHA-256 of its state dict's names and shapes, and the logits, computed with version 0.1.0."""

SMALL: dict[str, Any] = {"num_classes": 3, "frames": 4, "size": 64, "glance": "mobilenet_v2", "focus": "resnet18"}
SMALL |= {"policy_width": 16, "head_width": 32}
OPTIONS = {
    "v1": {"variant": "v1"},
    "v1 skips": {"variant": "v1", "skips": True},
    "v1_tsm": {"variant": "v1_tsm"},
    "v2": {"variant": "v2"},
    "v2 middle first": {"variant": "v2", "order": "middle_first"},
    "v2_rn": {"variant": "v2_rn", "glance": "resnet18", "glance_size": 48},
    "v2_tsm": {"variant": "v2_tsm"},
    "v2 centre": {"variant": "v2", "windows": "centre"},
}


def record(net: nn.Module) -> dict[str, Any]:
    """What :data:`RECORDS` holds of a network."""
    clip = np.random.RandomState(0).standard_normal((2, 3, 4, 64, 64))
    with torch.no_grad():
        logits = filled(net)(torch.from_numpy(clip)).logits
    return {"names": names(net), "logits": logits.tolist()}


@pytest.mark.parametrize("name", list(OPTIONS))
def test_the_network_is_that_of_version_0_1_0(name: str) -> None:
    found, expected = record(AdaFocusNet(**{**SMALL, **OPTIONS[name]})), RECORDS[name]
    assert found["names"] == expected["names"]
    torch.testing.assert_close(torch.tensor(found["logits"]), torch.tensor(expected["logits"]), rtol=1e-6, atol=1e-6)
