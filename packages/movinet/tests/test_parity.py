"""Outputs of the official TensorFlow code.

``movinet_a0_base.npz`` holds what tf-models-official 2.20.0 (float32, CPU) computed with weights that follow from the
variables' names, as :func:`value` says.
"""

from __future__ import annotations

import zlib
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vidcore.errors import UserError
from vidcore_movinet.network import MoViNet
from vidcore_movinet.weights import load_tensorflow_variables

OFFICIAL = np.load(Path(__file__).parent / "movinet_a0_base.npz")


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    kind = name.rsplit("/", 1)[-1]
    if kind == "moving_variance":
        return np.float32(1 + 0.5 * rng.random(shape))
    normal = rng.standard_normal(shape)
    if kind == "kernel":
        return np.float32(normal * np.sqrt(2 / prod(shape[:-1])))
    return np.float32({"gamma": 1, "scale": 0.5}.get(kind, 0) + 0.1 * normal)


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    shapes = [tuple(int(n) for n in shape.split(",") if n) for shape in OFFICIAL["shapes"].tolist()]
    return {name: value(name, shape) for name, shape in zip(OFFICIAL["names"].tolist(), shapes, strict=True)}


@pytest.fixture(scope="module")
def outputs(variables: dict[str, np.ndarray]) -> dict[str, Tensor]:
    net = MoViNet("a0").eval()
    load_tensorflow_variables(net, variables)
    found: dict[str, Tensor] = {}

    def keep(name: str, module: torch.nn.Module) -> None:
        module.register_forward_hook(lambda _, __, out: found.update({name: out}))

    keep("stem", net.stem)
    keep("head", net.project)
    for name, layer in net.layers.named_children():
        keep(name.replace("b", "block").replace("_l", "_layer"), layer)
    frames, size = int(OFFICIAL["frames"]), int(OFFICIAL["size"])
    clip = np.random.default_rng(20261122).random((1, frames, size, size, 3)).astype("float32")
    with torch.no_grad():
        found["logits"] = net(torch.from_numpy(clip).permute(0, 4, 1, 2, 3))
    found["head"] = found["head"].mean((2, 3, 4), keepdim=True)
    return found


def test_logits(outputs: dict[str, Tensor]) -> None:
    expected = OFFICIAL["logits"]
    np.testing.assert_allclose(outputs["logits"], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", [key.split("/")[1] for key in OFFICIAL.files if key.endswith("/head64")])
def test_endpoint(outputs: dict[str, Tensor], name: str) -> None:
    found = outputs[name].permute(0, 2, 3, 4, 1).numpy()
    mean, std = OFFICIAL[f"endpoint/{name}/mean_std"].tolist()
    assert found.shape == tuple(OFFICIAL[f"endpoint/{name}/shape"])
    assert found.mean(dtype="float64") == pytest.approx(mean, abs=1e-4 * std)
    assert found.std(dtype="float64") == pytest.approx(std, rel=1e-4)
    first = OFFICIAL[f"endpoint/{name}/head64"]
    np.testing.assert_allclose(found.ravel()[:64], first, rtol=0, atol=1e-4 * np.abs(first).max())


def test_all_endpoints_are_compared(outputs: dict[str, Tensor]) -> None:
    assert {key.split("/")[1] for key in OFFICIAL.files if key.startswith("endpoint/")} == outputs.keys() - {"logits"}


def test_loading_is_strict(variables: dict[str, np.ndarray]) -> None:
    net = MoViNet("a0")
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    bad = dict(variables)
    bad["block9_layer0/scale"] = bad.pop("block2_layer1/scale")
    bad["stem/stem/bn/gamma"] = np.zeros(9, np.float32)
    bad["block0_layer0/bneck/feature/conv3d/kernel"] = np.zeros((1, 5, 5, 24, 1), np.float32)
    with pytest.raises(UserError) as caught:
        load_tensorflow_variables(net, bad)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(" is ")[0].strip() for line in lines] == [
        "missing: block2_layer1/scale",
        "shape: block0_layer0/bneck/feature/conv3d/kernel",
        "shape: stem/stem/bn/gamma",
        "unexpected: block9_layer0/scale",
    ]
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


def test_another_number_of_classes_is_refused(variables: dict[str, np.ndarray]) -> None:
    with pytest.raises(UserError, match=r"classifier_head/classifier/conv3d/bias is \(600,\)"):
        load_tensorflow_variables(MoViNet("a0", num_classes=400), variables)
