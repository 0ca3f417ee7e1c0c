"""Networks of version 0.1.0 and of this version have the same parameters and states and compute the same logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recorded import filled, names

from vidcore.streaming import stream
from vidcore_movinet import MoViNet

RECORDS = json.loads(Path(__file__).with_name("networks_0_1_0.json").read_text())
"""By network, computed with version 0.1.0: SHA-256 of the names and shapes in its state dict, logits of two clips, and
for stream networks the logits after each chunk and the shapes of the state."""

STREAM = {"stream": True, "head": "hard_swish", "gate_slope": 1 / 6}
OPTIONS: dict[str, dict[str, Any]] = {
    "a0": {},
    "t0": {"variant": "t0"},
    "a0 stream": STREAM,
    "a0 stream, 3D convolutions": {**STREAM, "factorised": False},
    "a0 stream, released activations": {"stream": True, "head": "swish", "gate_slope": 0.2},
    "t0 stream": {**STREAM, "variant": "t0"},
    "a3 stream": {**STREAM, "variant": "a3"},
}
SIZE = (40, 51)
CHUNKS = (1, 1, 3, 1)


def record(name: str, folded: bool = False) -> dict[str, Any]:
    """Compute an entry of :data:`RECORDS`; the logits of the folded network."""
    net = MoViNet(**{"variant": "a0", "num_classes": 3, **OPTIONS[name]})
    clip = torch.from_numpy(np.random.RandomState(0).uniform(0, 1, (2, 3, sum(CHUNKS), *SIZE)))
    parameters = names(net)
    net = filled(net)
    net = net.folded() if folded else net
    with torch.no_grad():
        found = {
            "names": parameters,
            "logits": net(clip).tolist(),
        }
        if net.stream:
            found["chunks"] = stream(net, clip, CHUNKS).tolist()
            state = net.step(clip, net.init_state(2, SIZE))[1]
            found["state"] = {key: list(value.shape) for key, value in sorted(net.init_state(2, SIZE).items())}
            assert found["state"] == {key: list(value.shape) for key, value in sorted(state.items())}
    return found


@pytest.mark.parametrize("folded", [False, True], ids=["network", "folded"])
@pytest.mark.parametrize("name", OPTIONS)
def test_parameters_states_and_logits_equal_those_of_version_0_1_0(name: str, folded: bool) -> None:
    found, expected = record(name, folded), RECORDS[name]
    assert found.keys() == expected.keys()
    assert found["names"] == expected["names"]
    assert found.get("state") == expected.get("state")
    for key in expected.keys() & {"logits", "chunks"}:
        torch.testing.assert_close(torch.tensor(found[key]), torch.tensor(expected[key]), rtol=1e-6, atol=1e-6)
