"""Conversion of weights; names and shapes of the port's files are known, their values are random here."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidcore import Task
from vidcore.cli import main as vid
from vidcore.errors import UserError
from vidcore.module import load_module
from vidcore_movinet.ensemble import MoViNetEnsemble
from vidcore_movinet.module import MoViNetModule
from vidcore_movinet.network import MoViNet
from vidcore_movinet.variants import VARIANTS
from vidcore_movinet.weights import (
    kinetics600,
    load_port_state_dict,
    port_name,
    published_weights,
    tensorflow_name,
)

# Shapes of some of the port's tensors of A0.
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


def tensors(net: MoViNet) -> dict[str, Tensor]:
    """Return the parameters and buffers."""
    return {name: value for name, value in net.state_dict().items() if name != "_extra_state"}


def randomised(net: MoViNet) -> MoViNet:
    """Draw positive weights and statistics, so that each branch contributes."""
    generator = torch.Generator().manual_seed(1)
    for value in tensors(net).values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) * 0.1 + 0.05)
    return net


def of_the_port(net: MoViNet) -> dict[str, Tensor]:
    """Return random tensors with the port's names; all matrices are convolutions of 4 or 5 dimensions there."""
    generator = torch.Generator().manual_seed(0)
    dimensions = 4 if net.stream else 5
    theirs = {}
    for name, tensor in tensors(net).items():
        shape = list(tensor.shape)
        if len(shape) == 5 and net.stream:
            shape = [shape[0], shape[1], shape[2], shape[3]]  # temporal
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
def test_all_tensors_are_copied(stream: bool) -> None:
    net = MoViNet("a0", stream=stream)
    theirs = of_the_port(net)
    load_port_state_dict(net, theirs)
    for name, tensor in tensors(net).items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor.flatten(), theirs[port_name(name, net)].flatten()), name


def test_released_stream_weights_set_their_activations() -> None:
    net = MoViNet("a0", stream=True)
    load_port_state_dict(net, of_the_port(net))
    assert isinstance(net.activation, nn.SiLU)
    assert {layer.se.gate_slope for layer in net.layers} == {0.2}
    gate = net.layers.b0_l0.se
    nn.init.zeros_(gate.expand.weight)
    nn.init.constant_(gate.expand.bias, 1.0)
    x, state = torch.ones(1, 2, 2, 24), {"mean": torch.zeros(1, 24)}
    torch.testing.assert_close(gate(x, state, torch.ones(1, 1))[0], torch.full_like(x, 0.7))


def test_port_name_of_a_skip_connection_without_pooling() -> None:
    with torch.device("meta"):
        net = MoViNet("a3")
    assert port_name("layers.b3_l0.skip.project.conv.weight", net) == "blocks.b3_l0.res.0.conv_1.conv3d.weight"
    assert port_name("layers.b2_l0.skip.project.conv.weight", net) == "blocks.b2_l0.res.1.conv_1.conv3d.weight"


def test_errors_name_the_tensors_and_nothing_is_copied() -> None:
    base, stream = MoViNet("a0"), MoViNet("a0", stream=True)
    with pytest.raises(UserError, match=r"weights of a stream network do not fit a base .* true"):
        load_port_state_dict(base, of_the_port(stream))
    with pytest.raises(UserError, match=r"weights of a base network do not fit a stream .* false"):
        load_port_state_dict(stream, of_the_port(base))
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    theirs = of_the_port(base)
    theirs["blocks.b9_l0.alpha"] = theirs.pop("blocks.b0_l0.alpha")
    theirs["classifier.3.conv_1.conv3d.bias"] = torch.zeros(400)
    with pytest.raises(UserError) as caught:
        load_port_state_dict(base, theirs)
    assert [problem.split(" is ")[0] for problem in str(caught.value).partition("the network: ")[2].split("; ")] == [
        "missing: blocks.b0_l0.alpha",
        "shape: classifier.3.conv_1.conv3d.bias",
        "unexpected: blocks.b9_l0.alpha",
    ]
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())


def as_tensorflow(net: MoViNet) -> dict[str, np.ndarray]:
    """Return the weights with the official names and in the official order of axes."""
    variables = {}
    positions = itertools.count()
    for name, value in tensors(net).items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("se.position.scale"):
            number = next(positions)
            theirs = f"scale#{number}" if number else "scale"
        else:
            theirs = tensorflow_name(name, net.factorised)
        array = value.numpy()
        variables[theirs] = np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array
    return variables


@pytest.mark.parametrize(("variant", "stream"), [("a0", False), ("a0", True), ("t0", True)])
def test_convert_tensorflow_variables(tmp_path, variant, stream):
    net = randomised(MoViNet(variant, 7, stream))
    np.savez(tmp_path / "theirs.npz", **as_tensorflow(net))
    target = tmp_path / "ours.safetensors"
    arguments = ["--model", "movinet", "--model.variant", variant, "--model.stream", str(stream).lower()]
    assert vid(["weights", "convert", str(tmp_path / "theirs.npz"), str(target), *arguments, "--classes", "7"]) == 0
    module = MoViNetModule(Task.numbered(7), variant, stream, weights=str(target))
    assert module.load_weights(target) == []
    clip = torch.rand(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(module.net.eval()(clip), net.eval()(clip))


def test_convert_the_port_and_keep_its_activations(tmp_path):
    theirs = MoViNet("a0", 5, stream=True)
    torch.save(of_the_port(theirs), tmp_path / "port.pt")
    load_port_state_dict(theirs, torch.load(tmp_path / "port.pt"))
    target = tmp_path / "ours.safetensors"
    arguments = ["--model", "movinet", "--model.stream", "true", "--classes", "5"]
    assert vid(["weights", "convert", str(tmp_path / "port.pt"), str(target), *arguments]) == 0
    module = MoViNetModule(Task.numbered(5), stream=True)
    module.load_weights(target)
    assert (module.net.gate_slope, module.net.head) == (0.2, "swish")
    clip = torch.rand(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(module.net.eval()(clip), theirs.eval()(clip))
    # Fine-tuning for other classes keeps the activations.
    other = MoViNetModule(Task.numbered(3), stream=True)
    assert other.load_weights(tmp_path / "port.pt") == ["net.classifier.bias", "net.classifier.weight"]
    again = MoViNetModule(Task.numbered(3), stream=True)
    again.load_state_dict(other.state_dict())
    assert again.net.gate_slope == 0.2


@pytest.mark.parametrize("stream", [False, True])
def test_weights_of_another_kind_give_one_line(tmp_path, capsys, stream):
    theirs = MoViNetModule(Task.numbered(5), stream=not stream)
    np.savez(tmp_path / "tensorflow.npz", **as_tensorflow(theirs.net))
    torch.save(of_the_port(theirs.net), tmp_path / "port.pt")
    torch.save(theirs.state_dict(), tmp_path / "ours.pt")
    torch.save(theirs.net.state_dict(), tmp_path / "network.pt")
    save_file(theirs.state_dict(), tmp_path / "ours.safetensors")
    says = (
        f"network do not fit a {'stream' if stream else 'base'} network: set --model.stream {str(not stream).lower()}"
    )
    module = MoViNetModule(Task.numbered(5), stream=stream)
    for file in ("tensorflow.npz", "port.pt", "ours.pt", "network.pt"):
        with pytest.raises(UserError, match=says):
            module.load_weights(tmp_path / file)
    arguments = ["--model", "movinet", "--model.stream", str(stream).lower(), "--classes", "5"]
    assert vid(["flops", *arguments, "--weights", str(tmp_path / "ours.safetensors")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert says in said and "ours.safetensors" in said
    for file in ("ours.pt", "network.pt"):
        with pytest.raises(UserError, match=says):
            MoViNetEnsemble(Task.numbered(5), stream=stream, clip={"frames": 4}).load_weights(tmp_path / file)


def saved(module: MoViNetModule, path: Path) -> dict[str, Any]:
    """Return the checkpoint that Lightning writes of a module."""
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return torch.load(path, weights_only=True)


def test_checkpoints_keep_the_activations(tmp_path):
    module = MoViNetModule(Task.numbered(3), stream=True, head="hard_swish", gate_slope=0.25)
    hparams = saved(module, tmp_path / "new.ckpt")["hyper_parameters"]
    assert (hparams["head"], hparams["gate_slope"]) == ("hard_swish", 0.25)
    again = load_module(tmp_path / "new.ckpt")
    assert (again.net.head, again.net.gate_slope) == ("hard_swish", 0.25)

    # Loaded weights set their activations; the checkpoint contains them.
    torch.save(of_the_port(MoViNet("a0", 5, stream=True)), tmp_path / "port.pt")
    module = MoViNetModule(Task.numbered(3), stream=True, head="hard_swish")
    module.load_weights(tmp_path / "port.pt")
    hparams = saved(module, tmp_path / "tuned.ckpt")["hyper_parameters"]
    assert (hparams["head"], hparams["gate_slope"]) == ("swish", 0.2)


@pytest.mark.parametrize("says", [True, False])
def test_early_checkpoints_keep_hard_swish(tmp_path, says):
    """Before the option existed, all networks had hard swish; the state dict did not always contain it."""
    module = MoViNetModule(Task.numbered(3), stream=True, head="hard_swish")
    randomised(module.net).eval()
    early = saved(module, tmp_path / "early.ckpt")
    del early["hyper_parameters"]["head"], early["hyper_parameters"]["gate_slope"]
    if not says:
        del early["state_dict"]["net._extra_state"]
    torch.save(early, tmp_path / "early.ckpt")
    clip = torch.rand(1, 3, 2, 32, 32)
    with torch.no_grad():
        expected = module.net(clip)
        again = load_module(tmp_path / "early.ckpt")
        assert again.hparams["head"] == "hard_swish"
        assert torch.equal(again.net(clip), expected)
        other = MoViNetModule(Task.numbered(3), stream=True).eval()
        assert other.net.head == "swish"
        other.load_weights(tmp_path / "early.ckpt")
        assert torch.equal(other.net(clip), expected)


def test_a_checkpoint_of_another_kind_gives_one_line(tmp_path):
    early = saved(MoViNetModule(Task.numbered(3)), tmp_path / "base.ckpt")
    stream = MoViNetModule(Task.numbered(3), stream=True)
    with pytest.raises(UserError, match=r"weights of a base network .* set --model.stream false"):
        stream.on_load_checkpoint(early)


def test_activations_are_options(tmp_path, capsys):
    np.savez(tmp_path / "theirs.npz", **as_tensorflow(MoViNet("a0", 7, True)))
    target = tmp_path / "ours.safetensors"
    arguments = ["weights", "convert", str(tmp_path / "theirs.npz"), str(target), "--model", "movinet"]
    arguments += ["--classes", "7", "--model.stream", "true"]
    for options, activations in (
        ([], [1 / 6, 1]),
        (["--model.head", "hard_swish"], [1 / 6, 0]),
        (["--model.gate_slope", "0.2"], [0.2, 1]),
    ):
        assert vid([*arguments, *options]) == 0
        assert load_file(target)["net._extra_state"].tolist() == activations
    capsys.readouterr()
    assert vid([*arguments, "--model.head", "relu"]) != 0
    assert "hard_swish" in capsys.readouterr().err
    assert vid([*arguments, "--model.gate_slope", "-1"]) != 0
    assert "gate_slope must be greater than 0" in capsys.readouterr().err
    assert vid([*arguments, "--model.stream", "false", "--model.head", "hard_swish"]) != 0
    assert "stream networks only" in capsys.readouterr().err


def test_tensorflow_weights_of_a_variant_with_hard_swish_give_a_hint(tmp_path, caplog):
    assert {name for name, variant in VARIANTS.items() if variant.stream_head == "hard_swish"} == {"t0", "a1", "a4"}
    for variant, says in (("t0", True), ("a0", False)):
        np.savez(tmp_path / "theirs.npz", **as_tensorflow(MoViNet(variant, 5, True)))
        caplog.clear()
        with caplog.at_level("INFO"):
            MoViNetModule(Task.numbered(5), variant, stream=True).load_weights(tmp_path / "theirs.npz")
        assert ("--model.head hard_swish if the checkpoint was trained with it" in caplog.text) == says


def test_convert_names_the_number_of_classes(tmp_path, capsys):
    np.savez(tmp_path / "theirs.npz", **as_tensorflow(MoViNet("a0", 7)))
    assert (
        vid(["weights", "convert", str(tmp_path / "theirs.npz"), str(tmp_path / "x.safetensors"), "--model", "movinet"])
        == 2
    )
    assert "has 7 classes, the model 600: add --classes 7" in capsys.readouterr().err


@pytest.mark.parametrize("stream", [False, True])
def test_published(stream, tmp_path, monkeypatch, caplog):
    """Published weights are downloaded by name; a later download must have the checksum of the first."""
    assert len(kinetics600()) == len(set(kinetics600())) == 600
    assert list(kinetics600()) == sorted(kinetics600(), key=str.lower)
    record = MoViNetModule(MoViNetModule.reference_task, stream=stream).published_weights()["k600"]
    name = f"modelA0{'_stream' if stream else ''}_statedict_v3"
    assert record.url.endswith(f"/{name}")
    assert record.metrics == {"top1": 72.05 if stream else 72.28, "gmacs": 2.7}
    assert record.options == ({"head": "swish", "gate_slope": 0.2} if stream else {})

    file = tmp_path / name
    torch.save(of_the_port(MoViNet("a0", 600, stream)), file)
    monkeypatch.setattr("vidcore_movinet.weights._PORT", tmp_path.as_uri())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    module = MoViNetModule(Task.numbered(4), stream=stream, weights="k600")
    assert module.load_weights("k600") == ["net.classifier.bias", "net.classifier.weight"]
    assert not stream or module.net.gate_slope == 0.2
    assert len(list((tmp_path / "hub" / "checkpoints").glob("*.sha256"))) == 1
    for kept in (tmp_path / "hub" / "checkpoints").glob(f"*{name}"):
        kept.unlink()
    torch.save(of_the_port(MoViNet("a0", 599, stream)), file)
    with pytest.raises(UserError, match="sha256"):
        module.load_weights("k600")


def test_every_variant_has_published_weights():
    for variant in ("a0", "a1", "a2", "a3", "a4", "a5"):
        for stream in (False, True):
            found = published_weights(variant, stream)
            assert found["k600"].url.startswith("https://")
            port = "k600_tf" in found
            assert found["k600"].pinned_by == ("revision" if port else "nothing")
            assert not port or found["k600_tf"].pinned_by == "nothing"
    assert published_weights("t0", False) == {}
    with pytest.raises(UserError, match="no weights at nothing; published for this network: k600"):
        MoViNetModule(Task.numbered(4)).load_weights("nothing")


def odd_files(folder, net):
    """Write weights files of each kind, each invalid in one way; return their paths."""
    port = {port_name(name, net): value for name, value in net.state_dict().items() if "_extra_state" not in name}
    bias = next(name for name in port if name.startswith("classifier.3.") and name.endswith("bias"))
    torch.save({name: value for name, value in port.items() if name != bias}, folder / "port_no_bias.pt")
    torch.save({**port, bias: torch.tensor(1.0)}, folder / "port_scalar_bias.pt")
    torch.save({**port, bias: torch.ones(2, 2)}, folder / "port_bias_of_2.pt")
    ours = dict(net.state_dict())
    for name, state in {"short": torch.ones(1), "long": torch.ones(5), "zero": torch.zeros(2)}.items():
        torch.save({**ours, "_extra_state": state}, folder / f"extra_{name}.pt")
    np.savez(folder / "other.npz", a=np.ones(3))
    np.savez(folder / "text.npz", **{"classifier_head/classifier/bias": np.array("abc")})
    np.savez(folder / "objects.npz", a=np.array([{}], dtype=object))
    (folder / "empty.npz").touch()
    (folder / "text.tar.gz").write_text("no archive")
    (folder / "cut.index").write_bytes(b"\0" * 20)
    return sorted(path for path in folder.iterdir())


def test_invalid_files_give_one_line_with_their_name(tmp_path):
    model = MoViNetModule(Task.numbered(3), variant="a0", stream=True)
    for path in odd_files(tmp_path, model.net):
        with pytest.raises(UserError, match=re.escape(path.name)) as caught:
            model.load_weights(path)
        assert "\n" not in str(caught.value)
