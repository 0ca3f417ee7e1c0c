"""What a checkpoint from elsewhere cannot do."""

from __future__ import annotations

import pickle
import shutil
import sys
from pathlib import Path

import fsspec
import pytest
import torch
from colours import Colours
from lightning.pytorch import Trainer
from lightning.pytorch.core import saving
from small_models import MeanColour

from vidcore import UserError, VideoDataModule, VideoModule
from vidcore.cli import main
from vidcore.module import load_module
from vidcore.weights import read_weights

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of ``vid fit``, beside its data."""
    folder = tmp_path_factory.mktemp("run")
    argv = [
        *(
            "fit",
            "--model",
            "small_models.MeanColour",
            "--data",
            "colours.Colours",
            "--data.root",
            str(folder / "data"),
        ),
        *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"),
        *("--trainer.logger.save_dir", str(folder / "runs")),
    ]
    assert main(argv) == 0
    return next((folder / "runs").rglob("config.yaml")).parent


@pytest.fixture
def last(run, tmp_path):
    """A copy of its last checkpoint, where a run would be continued."""
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy" / "checkpoints" / "last.ckpt"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module that leaves a file when it is imported, whose function Lightning would call if it were let."""
    (tmp_path / "evil.py").write_text("open('ran', 'w')\ndef call(cls, hparams): return cls(**hparams)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(saving, "_ALLOWED_INSTANTIATORS", {"evil.call", "os.system"}, raising=False)
    yield
    assert not Path("ran").exists()
    assert "evil" not in sys.modules


def changed(path, part, key, value):
    content = torch.load(path, weights_only=True)
    (content if part is None else content[part])[key] = value
    torch.save(content, path)


COMMANDS = {
    "test": ["test"],
    "validate": ["validate"],
    "other data": ["test", "--data", "colours.Colours", "--data.root", "elsewhere"],
    "continue": ["fit", "--trainer.max_epochs", "2"],
    "fit": ["fit", "--model", "small_models.MeanColour", "--data", "colours.Colours", "--data.root", "elsewhere"],
    "predict": ["predict", str(TESTS / "running.py")],
    "stream": ["stream", str(TESTS / "running.py")],
    "export": ["export", "--output", "model.onnx"],
    "flops": ["flops"],
    "bench": ["bench"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("part", ["hyper_parameters", "datamodule_hyper_parameters"])
@pytest.mark.parametrize("named", ["evil.call", "os.system"])
def test_a_checkpoint_names_no_function_to_call(last, evil, capsys, command, part, named):
    changed(last, part, "_instantiator", named)
    assert main([*COMMANDS[command], "--ckpt_path", str(last)]) in (1, 2)
    assert f"cannot load {last}: {part}._instantiator is '{named}'" in capsys.readouterr().err


IN_PYTHON = {
    "load_module": load_module,
    "base class": VideoModule.load_from_checkpoint,
    "class": MeanColour.load_from_checkpoint,
    "data": VideoDataModule.load_from_checkpoint,
    "class of data": Colours.load_from_checkpoint,
}


@pytest.mark.parametrize("load", IN_PYTHON)
@pytest.mark.parametrize(
    ("part", "key", "value", "named"),
    [
        ("hyper_parameters", "_instantiator", "evil.call", "hyper_parameters._instantiator is 'evil.call'"),
        ("hyper_parameters", "_instantiator", None, "hyper_parameters._instantiator is None"),
        ("datamodule_hyper_parameters", "_instantiator", "evil.call", "datamodule_hyper_parameters._instantiator is"),
        (None, "hparams", {"_instantiator": "evil.call"}, "it has the key 'hparams'"),
        (None, "module_arguments", {"_instantiator": "evil.call"}, "it has the key 'module_arguments'"),
        (
            "hyper_parameters",
            "optim",
            {"class_path": "evil.Optim"},
            "hyper_parameters.optim.class_path is 'evil.Optim'",
        ),
        ("datamodule_hyper_parameters", "a", [{"class_path": "evil.A"}], "hyper_parameters.a.0.class_path is 'evil.A'"),
    ],
)
def test_nor_does_it_for_python(last, evil, load, part, key, value, named):
    changed(last, part, key, value)
    with pytest.raises(UserError, match=named):
        IN_PYTHON[load](last)


@pytest.mark.parametrize("load", ["base class", "class", "data", "class of data"])
def test_a_checkpoint_names_no_class_to_import(last, evil, load):
    for part in ("hyper_parameters", "datamodule_hyper_parameters"):
        changed(last, part, "_class_path", "evil.Model")
    with pytest.raises(UserError, match=r"is of evil\.Model, which is not an imported"):
        IN_PYTHON[load](last)


def test_a_trainer_refuses_it_too(last, evil):
    data = Colours(last.parents[1] / "data")
    data.prepare_data()
    changed(last, "hyper_parameters", "_instantiator", "evil.call")
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(UserError, match=r"hyper_parameters\._instantiator is 'evil.call'"):
        trainer.test(MeanColour(data.task), data, ckpt_path=last, verbose=False)


@pytest.mark.parametrize(
    "place", ["memory://bucket/victim.ckpt", "local://{}/victim.ckpt", "{}/checkpoints/../victim.ckpt"]
)
def test_a_checkpoint_has_no_file_removed(last, place):
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/victim.ckpt", b"mine")
    folder = last.parents[1]
    (folder / "victim.ckpt").write_text("mine")
    content = torch.load(last, weights_only=True)
    for state in content["callbacks"].values():
        if "best_model_path" in state:
            victim = place.format(folder)
            state |= {"dirpath": str(last.parent), "best_model_path": victim, "last_model_path": victim}
            state |= {"best_k_models": {victim: torch.tensor(-1.0)}, "kth_best_model_path": victim}
            state |= {"kth_value": torch.tensor(-1.0), "best_model_score": torch.tensor(-1.0)}
    torch.save(content, last)
    assert main(["fit", "--ckpt_path", str(last), "--trainer.max_epochs", "2"]) == 0
    assert memory.cat("/bucket/victim.ckpt") == b"mine"
    assert (folder / "victim.ckpt").read_text() == "mine"
    assert (last.parent / "best.ckpt").is_file()


@pytest.mark.parametrize("load", IN_PYTHON)
def test_our_own_checkpoints_load(last, load):
    assert type(IN_PYTHON[load](last)) is (Colours if "data" in load else MeanColour)


def test_a_checkpoint_at_a_url_is_not_fetched(run, monkeypatch, capsys):
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("fetched"))
    Path("config.yaml").write_text("ckpt_path: https://host/model.ckpt\n")
    model = ["--model", "small_models.MeanColour", "--data", "colours.Colours", "--data.root", str(run / "data")]
    assert main(["test", "--config", "config.yaml", *model, "--trainer.accelerator", "cpu"]) == 1
    assert "no checkpoint at https://host/model.ckpt" in capsys.readouterr().err


class Runs:
    def __reduce__(self):
        return open, ("ran", "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_the_error_for_a_pickle_gives_no_dangerous_advice(zipped):
    torch.save({"state_dict": Runs()}, "model.ckpt", _use_new_zipfile_serialization=zipped)
    Path("plain.pkl").write_bytes(pickle.dumps({"a": 1}))
    for read in (load_module, read_weights):
        with pytest.raises(UserError, match=r"it holds \w+\.open; only tensors and plain values are read") as raised:
            read("model.ckpt")
        with pytest.raises(UserError, match=r"torch\.save did not write it") as other:
            read("plain.pkl")
        for error in (raised.value, other.value):
            assert "weights_only" not in str(error) and "trust" not in str(error)
    assert not Path("ran").exists()
