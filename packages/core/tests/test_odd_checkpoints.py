"""Whatever a checkpoint or weights file holds, each command says in one line which file it is and what is wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import odd_checkpoints as odd
import pytest
import torch
from colours import COLOURS, Colours
from lightning.pytorch import Trainer
from running import COMMON, fit, installed  # noqa: F401
from safetensors.torch import save_file
from small_models import MeanColour

from vidcore import Task, UserError
from vidcore.cli import main
from vidcore.module import load_module
from vidcore.weights import read_weights


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    Colours(folder).prepare_data()
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, clips):
    """A good one, after an epoch of training, of the models and data that ``installed`` brings."""
    folder = tmp_path_factory.mktemp("good")
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(MeanColour(Task("single_label", tuple(COLOURS))), Colours(clips))
    trainer.save_checkpoint(folder / "good.ckpt")
    found = torch.load(folder / "good.ckpt", weights_only=True)
    found["hyper_parameters"]["_class_path"] = "vidcore.models.mean"
    found["datamodule_hyper_parameters"] = {"_class_path": "vidcore.data.colours", "root": str(clips)}
    return found


@pytest.fixture
def video(clips):
    return str(clips / "red_0.mp4")


LOADING = {
    "flops": ["flops", "--ckpt_path", "FILE"],
    "bench": ["bench", "--ckpt_path", "FILE", "--repeats", "1", "--accelerator", "cpu"],
    "export": ["export", "--ckpt_path", "FILE", "--output", "model.pt2"],
    "stream": ["stream", "VIDEO", "--ckpt_path", "FILE"],
    "predict": ["predict", "VIDEO", "--ckpt_path", "FILE", "--accelerator", "cpu"],
}
"""Commands that load a model from a checkpoint."""

RUNNING = {
    "test": ["test", "--ckpt_path", "FILE", *COMMON],
    "validate": ["validate", "--ckpt_path", "FILE", *COMMON],
    "fit": ["fit", "--ckpt_path", "FILE", *COMMON, "--trainer.max_epochs", "2"],
}
"""Commands that run Lightning from a checkpoint."""

ONE_EPOCH = ["--trainer.max_epochs", "1"]

WEIGHTS = {
    "convert": ["weights", "convert", "FILE", "out.safetensors", "--model", "mean", "--classes", "3"],
    "weights": ["flops", "--model", "mean", "--weights", "FILE", "--classes", "3"],
}
"""Commands that load weights into a model by name."""


def in_one_line(command, path, video, capsys):
    capsys.readouterr()
    status = main([str(path) if word == "FILE" else video if word == "VIDEO" else word for word in command])
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("kept: ", "to go on: "))]
    errors = [line for line in lines if line.startswith("vid: error: ")]
    assert status in (1, 2), f"{path.name}: {command[0]} accepted it"
    assert len(errors) == 1, f"{path.name}: {command[0]}"
    assert lines[-1] == errors[0], f"{path.name}: {command[0]} has more than a line"
    assert path.name in errors[0], f"{path.name}: {command[0]} does not name the file"


def in_one_error(function, path):
    with pytest.raises(UserError) as caught:
        function(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


def test_the_good_one_is_accepted(installed, checkpoint, video, tmp_path, capsys):  # noqa: F811
    torch.save(checkpoint, tmp_path / "good.ckpt")
    load_module(tmp_path / "good.ckpt")
    commands = {**LOADING, **RUNNING, **WEIGHTS}
    for name in ("flops", "predict", "test", "fit", "convert"):
        words = [str(tmp_path / "good.ckpt") if word == "FILE" else word for word in commands[name]]
        assert main([video if word == "VIDEO" else word for word in words]) == 0, name


@pytest.mark.parametrize("part", ["DESCRIPTION", "STATE", "WHOLE"])
def test_what_is_odd_is_not_loaded(installed, checkpoint, part, video, tmp_path, capsys):  # noqa: F811
    paths = odd.written(tmp_path / part, checkpoint, getattr(odd, part))
    for number, path in enumerate(paths.values()):
        in_one_error(load_module, path)
        in_one_line(list(LOADING.values())[number % len(LOADING)], path, video, capsys)


FOR_RUNS = {
    "DESCRIPTION": (
        "hp_int hp_keys task_kind classes_ints class_path_unknown class_path_function "
        "clip_text clip_zero argument_unknown argument_tensor version_missing"
    ),
    "STATE": "state_missing state_empty state_shape state_value_text state_complex state_meta",
    "WHOLE": "list plain_state_dict",
}


@pytest.mark.parametrize("part", FOR_RUNS)
def test_what_is_odd_is_not_run(installed, checkpoint, part, video, tmp_path, capsys):  # noqa: F811
    changes = {name: getattr(odd, part)[name] for name in FOR_RUNS[part].split()}
    for number, path in enumerate(odd.written(tmp_path / part, checkpoint, changes).values()):
        in_one_line(list(RUNNING.values())[number % len(RUNNING)], path, video, capsys)


def test_a_training_does_not_go_on_from_what_is_odd(installed, checkpoint, video, tmp_path, capsys):  # noqa: F811
    for path in odd.written(tmp_path / "training", checkpoint, odd.TRAINING).values():
        in_one_line(RUNNING["fit"], path, video, capsys)


def test_the_last_of_a_run_that_is_odd(installed, checkpoint, clips, video, tmp_path, capsys):  # noqa: F811
    assert main(["fit", "--model", "mean", "--data", "colours", "--data.root", str(clips), *COMMON, *ONE_EPOCH]) == 0
    (last,) = Path("runs").rglob("last.ckpt")
    changes = {
        name: odd.TRAINING[name] for name in ("loops_missing", "loops_empty", "loops_progress", "callbacks_text")
    }
    for path in odd.written(tmp_path / "odd", checkpoint, changes).values():
        shutil.copy(path, last)
        for which in ("last", str(last)):
            in_one_line(["fit", "--model", "mean", "--data", "colours", "--ckpt_path", which], last, video, capsys)


def test_a_wrong_option_is_not_blamed_on_the_checkpoint(installed, checkpoint, tmp_path, capsys):  # noqa: F811
    torch.save(checkpoint, tmp_path / "good.ckpt")
    command = ["test", "--ckpt_path", str(tmp_path / "good.ckpt"), "--trainer.max_epochs", "many"]
    assert main(command) == 2
    assert "good.ckpt" not in capsys.readouterr().err


@pytest.mark.parametrize("part", ["STATE", "WHOLE"])
def test_weights_that_are_odd_are_refused(installed, checkpoint, part, video, tmp_path, capsys):  # noqa: F811
    changes = {name: change for name, change in getattr(odd, part).items() if name != "plain_state_dict"}
    for number, path in enumerate(odd.written(tmp_path / part, checkpoint, changes).values()):
        in_one_line(list(WEIGHTS.values())[number % len(WEIGHTS)], path, video, capsys)


def test_files_that_hold_nothing_of_the_kind(installed, checkpoint, video, tmp_path, capsys):  # noqa: F811
    commands = [*LOADING.values(), *RUNNING.values(), *WEIGHTS.values()]
    for number, (name, path) in enumerate(odd.write_files(tmp_path / "files", checkpoint).items()):
        in_one_error(load_module, path)
        if name != "other.safetensors":
            in_one_error(read_weights, path)
        in_one_line(commands[number % len(commands)], path, video, capsys)


def test_training_from_weights_that_are_odd(installed, checkpoint, video, tmp_path, capsys):  # noqa: F811
    paths = odd.written(
        tmp_path / "files", checkpoint, {"state_shape": odd.STATE["state_shape"], "list": odd.WHOLE["list"]}
    )
    paths |= {"cut": odd.write_files(tmp_path / "more", checkpoint)["cut_60.ckpt"]}
    for path in paths.values():
        in_one_line(fit("--model.weights", "FILE"), path, video, capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(checkpoint, tmp_path):
    path = tmp_path / "closed" / "secret.ckpt"
    path.parent.mkdir()
    torch.save(checkpoint, path)
    for closed, mode in ((path, 0o600), (path.parent, 0o700)):
        closed.chmod(0)
        in_one_error(load_module, path)
        in_one_error(read_weights, path)
        closed.chmod(mode)


def test_whatever_the_system_refuses_names_the_file(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "secret.ckpt"
    torch.save(checkpoint, path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)  # as in a folder that may not be entered
    in_one_error(load_module, path)
    in_one_error(read_weights, path)


def test_other_kinds_of_numbers_are_converted(installed, checkpoint, tmp_path):  # noqa: F811
    state = {
        name: value.double() if value.is_floating_point() else value for name, value in checkpoint["state_dict"].items()
    }
    torch.save({**checkpoint, "state_dict": state}, tmp_path / "double.ckpt")
    save_file(state, tmp_path / "double.safetensors")
    loaded = load_module(tmp_path / "double.ckpt").state_dict()
    model = MeanColour(Task("single_label", tuple(COLOURS)))
    model.load_weights(tmp_path / "double.safetensors")
    for name, value in checkpoint["state_dict"].items():
        assert torch.equal(loaded[name], value)
        assert torch.equal(model.state_dict()[name], value)
