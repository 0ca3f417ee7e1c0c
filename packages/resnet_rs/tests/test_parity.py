"""Outputs of the official TensorFlow code: ``resnet_rs_50.npz`` (tf-models-official 2.20.0, float32, CPU)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vidcore.errors import UserError
from vidcore.testing.parity import OfficialOutputs
from vidcore_resnet_rs import ResNetRS3D, load_tensorflow_variables

OFFICIAL = OfficialOutputs(Path(__file__).parent / "resnet_rs_50.npz")


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    return OFFICIAL.variables()


@pytest.fixture(scope="module")
def outputs(variables: dict[str, np.ndarray]) -> dict[str, Tensor]:
    net = ResNetRS3D(depth=50, num_classes=600).eval()
    load_tensorflow_variables(net, variables)
    found: dict[str, Tensor] = {}
    for number, stage in enumerate(net.stages, start=2):  # the official code numbers the stem 1
        stage[-1].register_forward_hook(lambda _, __, out, number=number: found.update({str(number): out}))
    with torch.no_grad():
        found["logits"] = net(OFFICIAL.clip())
    return found


def test_trainable_parameters(variables: dict[str, np.ndarray]) -> None:
    with torch.device("meta"):
        net = ResNetRS3D(depth=50, num_classes=600)
    assert sum(p.numel() for p in net.parameters()) == int(OFFICIAL.arrays["num_trainable"])


def test_logits(outputs: dict[str, Tensor]) -> None:
    OFFICIAL.check_logits(outputs["logits"])


@pytest.mark.parametrize("name", OFFICIAL.endpoints)
def test_endpoint(outputs: dict[str, Tensor], name: str) -> None:
    OFFICIAL.check_endpoint(name, outputs[name])


def test_all_endpoints_are_compared(outputs: dict[str, Tensor]) -> None:
    assert set(OFFICIAL.endpoints) == outputs.keys() - {"logits"}


def test_loading_is_strict(variables: dict[str, np.ndarray]) -> None:
    with torch.device("meta"):
        net = ResNetRS3D(depth=50, num_classes=400)
    bad = dict(variables)
    bad["bottleneck_block3d_16/conv3d_1/kernel"] = bad.pop("bottleneck_block3d_15/conv3d_1/kernel")
    with pytest.raises(UserError) as caught:
        load_tensorflow_variables(net, bad)
    assert str(caught.value).partition(": ")[2].split("; ") == [
        "missing: bottleneck_block3d_15/conv3d_1/kernel",
        "shape: dense/bias is (600,) in our order, should be (400,)",
        "shape: dense/kernel is (600, 2048) in our order, should be (400, 2048)",
        "unexpected: bottleneck_block3d_16/conv3d_1/kernel",
    ]
