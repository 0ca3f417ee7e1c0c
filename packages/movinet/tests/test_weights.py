"""Weights of the PyTorch port, of which the names and shapes are known, not the files."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vidcore.errors import UserError
from vidcore_movinet.network import MoViNet
from vidcore_movinet.weights import load_port_state_dict, port_name

# The port's tensors of A0: some layers, and how many there are in all (running statistics and counters included).
BASE = {
    "conv1.conv_1.conv3d.weight": (8, 3, 1, 3, 3),
    "conv1.conv_1.norm.running_var": (8,),
    "blocks.b0_l0.alpha": (),
    "blocks.b0_l0.expand.conv_1.conv3d.weight": (24, 8, 1, 1, 1),
    "blocks.b0_l0.deep.conv_1.conv3d.weight": (24, 1, 1, 5, 5),
    "blocks.b0_l0.se.fc1.conv_1.conv3d.weight": (8, 24, 1, 1, 1),
    "blocks.b0_l0.se.fc2.conv_1.conv3d.bias": (24,),
    "blocks.b0_l0.project.conv_1.norm.bias": (8,),
    "blocks.b0_l0.res.1.conv_1.conv3d.weight": (8, 8, 1, 1, 1),
    "blocks.b1_l0.deep.conv_1.conv3d.weight": (80, 1, 3, 3, 3),
}
STREAM = {
    "blocks.b1_l0.deep.conv_1.conv2d.weight": (80, 1, 3, 3),
    "blocks.b1_l0.deep.conv_2.conv2d.weight": (80, 1, 3, 1),
    "blocks.b1_l0.deep.conv_2.norm.weight": (80,),
    "blocks.b4_l3.se.fc1.conv_1.conv2d.weight": (176, 688, 1, 1),
    "blocks.b4_l3.project.conv_1.conv2d.weight": (104, 344, 1, 1),
    "conv7.conv_1.conv2d.weight": (480, 104, 1, 1),
    "classifier.0.conv_1.conv2d.weight": (2048, 480, 1, 1),
    "classifier.3.conv_1.conv2d.bias": (600,),
}


def of_the_port(net: MoViNet) -> dict[str, Tensor]:
    """Random tensors in the port's form: everything but vectors and scalars is a convolution of 4 or 5 dimensions."""
    generator = torch.Generator().manual_seed(0)
    dimensions = 4 if net.stream else 5
    theirs = {}
    for name, tensor in net.state_dict().items():
        shape = list(tensor.shape)
        if len(shape) == 5 and net.stream:
            shape = [shape[0], shape[1], shape[2], shape[3]]  # over time
        elif len(shape) == 2:
            shape += [1] * (dimensions - 2)
        theirs[port_name(name, net)] = torch.rand(shape, generator=generator)
    return theirs


@pytest.mark.parametrize(("stream", "known", "count"), [(False, BASE, 385), (True, STREAM, 451)])
def test_names_and_shapes_are_the_ports(stream: bool, known: dict[str, tuple[int, ...]], count: int) -> None:
    theirs = of_the_port(MoViNet("a0", stream=stream))
    assert len(theirs) == count
    assert {name: tuple(theirs[name].shape) for name in known} == known


@pytest.mark.parametrize("stream", [False, True])
def test_every_tensor_arrives(stream: bool) -> None:
    net = MoViNet("a0", stream=stream)
    theirs = of_the_port(net)
    load_port_state_dict(net, theirs)
    for name, tensor in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor.flatten(), theirs[port_name(name, net)].flatten()), name


def test_released_stream_weights_want_other_activations() -> None:
    net = MoViNet("a0", stream=True)
    load_port_state_dict(net, of_the_port(net))
    assert isinstance(net.activation, nn.SiLU)
    assert {layer.se.gate_slope for layer in net.layers} == {0.2}
    gate = net.layers.b0_l0.se
    nn.init.zeros_(gate.expand.weight)
    nn.init.constant_(gate.expand.bias, 1.0)
    x, state = torch.ones(1, 24, 2, 2), {"mean": torch.zeros(1, 24)}
    torch.testing.assert_close(gate(x, state, torch.zeros(1))[0], torch.full_like(x, 0.7))


def test_a_skip_without_pool_has_another_name() -> None:
    with torch.device("meta"):
        net = MoViNet("a3")
    assert port_name("layers.b3_l0.skip.project.conv.weight", net) == "blocks.b3_l0.res.0.conv_1.conv3d.weight"
    assert port_name("layers.b2_l0.skip.project.conv.weight", net) == "blocks.b2_l0.res.1.conv_1.conv3d.weight"


def test_what_does_not_fit_is_named_and_nothing_is_copied() -> None:
    base, stream = MoViNet("a0"), MoViNet("a0", stream=True)
    with pytest.raises(UserError, match="weights of a stream network do not fit a base network"):
        load_port_state_dict(base, of_the_port(stream))
    with pytest.raises(UserError, match="weights of a base network do not fit a stream network"):
        load_port_state_dict(stream, of_the_port(base))
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    theirs = of_the_port(base)
    theirs["blocks.b9_l0.alpha"] = theirs.pop("blocks.b0_l0.alpha")
    theirs["classifier.3.conv_1.conv3d.bias"] = torch.zeros(400)
    with pytest.raises(UserError) as caught:
        load_port_state_dict(base, theirs)
    assert [line.split(" is ")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "missing: blocks.b0_l0.alpha",
        "shape: classifier.3.conv_1.conv3d.bias",
        "unexpected: blocks.b9_l0.alpha",
    ]
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
