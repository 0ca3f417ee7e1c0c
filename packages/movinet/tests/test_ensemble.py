"""Temporal ensemble of two networks at half the frame rate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

import vidcore_movinet
from vidcore import Task, UserError
from vidcore.testing import tiny_batch
from vidcore_movinet import MoViNetEnsemble, MoViNetModule

CLIP = {"frames": 6, "size": 32}


def randomised(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.copy_(torch.rand(parameter.shape, generator=generator) * 0.2 - 0.1)


@pytest.mark.parametrize("stream", [False, True])
def test_each_network_processes_every_other_frame(stream):
    module = MoViNetEnsemble(Task.numbered(3), stream=stream, clip=CLIP).eval()
    randomised(module)
    batch = tiny_batch(rows=2, frames=6, size=32, classes=3)
    clip = batch["inputs"]["rgb"]
    with torch.no_grad():
        first, second = module.nets[0](clip[:, :, [0, 2, 4]]), module.nets[1](clip[:, :, [1, 3, 5]])
        assert not torch.allclose(first, second)
        torch.testing.assert_close(module(batch).logits, (first + second) / 2)


def test_ensemble_costs_as_much_as_one_network():
    single = MoViNetModule(Task.numbered(3), clip=CLIP)
    ensemble = MoViNetEnsemble(Task.numbered(3), clip=CLIP)
    head = 480 * 2048 + 2048 * 3  # and the gates: once per network
    (one,), (both,) = ([sum(module.costs().values())] for module in (single, ensemble))
    gates = sum(
        layer.numel() for name, layer in single.named_parameters() if ".se." in name and name.endswith("weight")
    )
    assert both == one + head + gates


def test_gradients_are_those_of_each_networks_own_loss():
    """Compare with the gradient of a network that is trained alone on its half of the frames."""
    module = MoViNetEnsemble(Task.numbered(3), clip=CLIP, dropout=0.0, stochastic_depth=0.0, label_smoothing=0.1)
    randomised(module)
    module.log = lambda *_, **__: None
    batch = tiny_batch(rows=2, frames=6, size=32, classes=3)
    module.training_step(batch, 0).backward()
    alone = module.nets[1]
    got = alone.classifier.weight.grad.clone()
    module.zero_grad()
    loss = torch.nn.functional.cross_entropy(
        alone(batch["inputs"]["rgb"][:, :, 1::2]), batch["target"], label_smoothing=0.1
    )
    loss.backward()
    torch.testing.assert_close(got, alone.classifier.weight.grad)


def test_weights_of_one_network_are_loaded_into_both(tmp_path):
    single = MoViNetModule(Task.numbered(3), clip=CLIP)
    randomised(single.net)
    save_file(single.state_dict(), tmp_path / "one.safetensors")
    module = MoViNetEnsemble(Task.numbered(3), clip=CLIP)
    assert module.load_weights(tmp_path / "one.safetensors") == []
    for net in module.nets:
        assert torch.equal(net.stem.conv.weight, single.net.stem.conv.weight)


def test_number_of_frames_must_be_even():
    with pytest.raises(UserError, match=r"must be even .*, got 5"):
        MoViNetEnsemble(Task.numbered(3), clip={"frames": 5})


RECIPES = sorted((Path(vidcore_movinet.__file__).parent / "recipes").glob("*/*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_recipes_build_the_model(path):
    model = yaml.safe_load(path.read_text())["model"]
    cls = {"movinet": MoViNetModule, "movinet_ensemble": MoViNetEnsemble}[path.parent.name]
    module = cls(Task.numbered(3), **model["init_args"])
    module.optim.of(module.optim).build(module.parameters(), total_steps=10)
