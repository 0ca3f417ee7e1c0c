"""Outputs of the official TensorFlow code: ``movinet_*.npz``, computed with tf-models-official 2.20.0 (float32).

The stream networks have hard swish before the classifier, an option of the official code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vidcore.errors import UserError
from vidcore.streaming import stream
from vidcore.testing.parity import OfficialOutputs
from vidcore_movinet.network import MoViNet
from vidcore_movinet.weights import load_tensorflow_variables

HERE = Path(__file__).parent
OFFICIAL = OfficialOutputs(HERE / "movinet_a0_base.npz")
STREAMS = {variant: OfficialOutputs(HERE / f"movinet_{variant}_stream.npz") for variant in ("a0", "a3")}


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    return OFFICIAL.variables()


def endpoints(net: MoViNet, clip: Tensor) -> dict[str, Tensor]:
    """Return the outputs of all layers and ``logits``; layers of a stream network return images (T, H, W, C)."""
    found: dict[str, Tensor] = {}

    def keep(name: str, module: torch.nn.Module) -> None:
        module.register_forward_hook(lambda _, __, out: found.update({name: out[0] if isinstance(out, tuple) else out}))

    keep("stem", net.stem)
    keep("head", net.project)
    for name, layer in net.layers.named_children():
        keep(name.replace("b", "block").replace("_l", "_layer"), layer)
    with torch.no_grad():
        found["logits"] = net(clip)
    return dict(found)


@pytest.fixture(scope="module")
def outputs(variables: dict[str, np.ndarray]) -> dict[str, Tensor]:
    net = MoViNet("a0").eval()
    load_tensorflow_variables(net, variables)
    found = endpoints(net, OFFICIAL.clip())
    return {**found, "head": found["head"].mean((2, 3, 4), keepdim=True)}


@pytest.mark.parametrize(("variant", "official"), STREAMS.items())
def test_stream(variant: str, official: OfficialOutputs) -> None:
    """Compare the logits of the clip and after each frame, and the output of each layer."""
    net = MoViNet(variant, stream=True, head="hard_swish").eval()
    load_tensorflow_variables(net, official.variables())
    found = endpoints(net, official.clip())
    largest = np.abs(official.arrays["logits_clip"]).max()
    for key, logits in (
        ("logits_clip", found.pop("logits")),
        ("logits_stream", stream(net, official.clip(), [1] * official.clip().shape[2])),
    ):
        np.testing.assert_allclose(logits, official.arrays[key], rtol=0, atol=official.tolerance * largest)
    found["head"] = found["head"].mean((0, 1, 2))[None, None, None]
    assert set(official.endpoints) == found.keys()
    for name in official.endpoints:
        official.check_endpoint(name, found[name].permute(3, 0, 1, 2)[None])


def test_logits(outputs: dict[str, Tensor]) -> None:
    OFFICIAL.check_logits(outputs["logits"])


@pytest.mark.parametrize("name", OFFICIAL.endpoints)
def test_endpoint(outputs: dict[str, Tensor], name: str) -> None:
    OFFICIAL.check_endpoint(name, outputs[name])


def test_all_endpoints_are_compared(outputs: dict[str, Tensor]) -> None:
    assert set(OFFICIAL.endpoints) == outputs.keys() - {"logits"}


def test_loading_is_strict(variables: dict[str, np.ndarray]) -> None:
    net = MoViNet("a0")
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    bad = dict(variables)
    bad["block9_layer0/scale"] = bad.pop("block2_layer1/scale")
    bad["stem/stem/bn/gamma"] = np.zeros(9, np.float32)
    bad["block0_layer0/bneck/feature/conv3d/kernel"] = np.zeros((1, 5, 5, 1, 25), np.float32)
    with pytest.raises(UserError) as caught:
        load_tensorflow_variables(net, bad)
    lines = str(caught.value).partition(": ")[2].split("; ")
    assert [line.split(" is ")[0].strip() for line in lines] == [
        "missing: block2_layer1/scale",
        "shape: block0_layer0/bneck/feature/conv3d/kernel",
        "shape: stem/stem/bn/gamma",
        "unexpected: block9_layer0/scale",
    ]
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


def test_number_of_classes_must_match(variables: dict[str, np.ndarray]) -> None:
    with pytest.raises(UserError, match=r"classifier_head/classifier/conv3d/bias is \(600,\)"):
        load_tensorflow_variables(MoViNet("a0", num_classes=400), variables)
