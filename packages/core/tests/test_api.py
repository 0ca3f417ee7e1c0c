"""The Python interface against the commands, on the same files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from colours import COLOURS, Colours
from running import COMMON, curve, fit, installed, run  # noqa: F401
from safetensors.torch import save_file
from small_models import MeanColour

import vidcore
from vidcore import Task, UserError
from vidcore.cli import main

TRAINER = {"accelerator": "cpu", "log_every_n_steps": 1, "num_sanity_val_steps": 0, "max_epochs": 2}
QUIET = {**TRAINER, "enable_progress_bar": False}


def python_fit(**changes):
    arguments = {"model": "mean", "data": "colours", "data_args": {"root": "clips"}, "trainer": QUIET}
    return vidcore.fit(**{**arguments, **changes})


def summary_of(folder):
    return json.loads((folder / "report" / "summary.json").read_text())["metrics"]


def without_time(rows):
    return [{key: value for key, value in row.items() if key != "ms"} for row in rows]


@pytest.fixture
def clips(tmp_path):
    data = Colours("clips", broken=1)
    data.prepare_data()
    return data.root


@pytest.fixture
def weights(installed):  # noqa: F811
    save_file(MeanColour(Task("single_label", tuple(COLOURS))).state_dict(), "mean.safetensors")
    return "mean.safetensors"


def test_importing_vidcore_imports_no_torch():
    program = "import sys, vidcore; assert 'fit' in vidcore.__all__; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_training_is_that_of_the_command(installed, capfd):  # noqa: F811
    assert main(fit(epochs=2)) == 0
    capfd.readouterr()
    ours = python_fit()
    assert ours.folder == run(1).resolve()
    assert ours.best == (run(1) / "checkpoints" / "best.ckpt").resolve()
    for metric in ("train/loss", "val/loss", "val/top1"):
        assert curve(run(1), metric) == curve(run(0), metric)
        assert ours.metrics[metric] == pytest.approx(curve(run(0), metric)[-1][1])
    assert (run(1) / "report" / "index.html").is_file()
    ours_config, theirs = ((run(number) / "config.yaml").read_text() for number in (1, 0))
    assert ours_config.replace("enable_progress_bar: false", "enable_progress_bar: null") == theirs
    printed = "".join(capfd.readouterr())
    for text in ("report:", "best checkpoint", "next:", "Tip:", "vid:"):
        assert text not in printed


def test_the_test_is_that_of_the_command(installed):  # noqa: F811
    ours = python_fit(data_args={"root": Path("clips 😀")})
    metrics = ours.test()
    assert main(["test", "--ckpt_path", str(ours.best), *COMMON]) == 0
    expected = summary_of(run(2))
    assert metrics.keys() == expected.keys()
    for name in ("test/top1", "test/mean_class", "test/gmacs"):
        assert metrics[name] == pytest.approx(expected[name])
    assert "accelerator: cpu" in (run(1) / "config.yaml").read_text()


def test_seeds_decide_several_trainings_in_one_process(installed):  # noqa: F811
    first, again, other = (python_fit(seed=seed).metrics for seed in (1, 1, 2))
    assert first == again
    assert first["train/loss"] != other["train/loss"]


def test_rows_are_those_of_the_command(installed, clips, capfd):  # noqa: F811
    ours = python_fit()
    files = [str(clips / name) for name in ("red_0.mp4", "broken_0.mp4", "blue_1.mp4")]
    options = ["--views", "2", "--batch_size", "3", "--render", "drawn"]
    capfd.readouterr()
    assert main(["predict", *files, "--ckpt_path", str(ours.best), *options, "--output", "rows.jsonl"]) == 1
    expected = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    capfd.readouterr()
    model = vidcore.load(ours.best)
    rows = model.predict(files, views=2, batch_size=3, render="drawn")
    assert without_time(rows) == without_time(expected)
    assert [row["path"] for row in rows] == files
    assert "error" in rows[1]
    assert rows[0]["ms"] > 0
    assert Path(rows[0]["rendered"]).is_file()
    assert capfd.readouterr() == ("", "")
    assert model.classes == tuple(COLOURS)


def test_a_path_a_folder_and_a_pattern(weights, clips):
    model = vidcore.load(model="mean", weights=weights, classes=3)
    assert [row["path"] for row in model.predict(clips / "red_0.mp4")] == [str(clips / "red_0.mp4")]
    assert len(model.predict(clips)) == 13
    red = model.predict("clips/red_*.mp4")
    assert [row["path"] for row in red] == [f"clips/red_{number}.mp4" for number in range(4)]
    assert without_time(model.predict([Path("clips/red_1.mp4"), "clips/red_0.mp4"])) == without_time([red[1], red[0]])


def test_scores_that_are_not_numbers_are_none(installed, clips):  # noqa: F811
    broken = MeanColour(Task("single_label", tuple(COLOURS)))
    torch.nn.init.constant_(broken.net[0].weight, torch.nan)
    save_file(broken.state_dict(), "nan.safetensors")
    (row,) = vidcore.load(model="mean", weights="nan.safetensors", classes=list(COLOURS)).predict("clips/red_0.mp4")
    assert [best["score"] for best in row["top"]] == [None] * 3
    assert {best["class"] for best in row["top"]} == set(COLOURS)


def test_a_run_without_checkpoints(installed):  # noqa: F811
    logger = {"class_path": "csv", "init_args": {"save_dir": Path("elsewhere")}}
    ours = python_fit(trainer={**QUIET, "enable_checkpointing": False, "logger": logger})
    assert ours.best is None
    assert ours.folder.parents[1] == Path("elsewhere").resolve()
    for call in (ours.test, ours.model):
        with pytest.raises(UserError, match="no best checkpoint in"):
            call()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model": "meen"}, "meen.*mean"),
        ({"data_args": {}}, "required: root"),
        ({"data_args": {"root": "clips", "batchsize": 3}}, "batchsize.* is not accepted"),
        ({"trainer": {"max_epochs": "many"}}, "max_epochs"),
        ({"trainer": {"callbacks": [object()]}}, "must be plain values.*not object"),
        ({"model_args": {"optim": {"lr": "fast"}}}, "lr"),
        ({"model_args": {"optim": {"lr": 1e30}}}, "diverged"),
    ],
)
def test_mistakes_in_a_training(installed, changes, text):  # noqa: F811
    with pytest.raises(UserError, match=text):
        python_fit(**changes)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "nothing to load"),
        ({"checkpoint": "no.ckpt"}, "no.ckpt"),
        ({"checkpoint": "mean.safetensors"}, "mean.safetensors"),
        ({"checkpoint": "mean.safetensors", "model": "mean"}, "leave out the others"),
        ({"model": "meen", "weights": "mean.safetensors"}, "meen"),
        ({"model": "mean"}, "needs --weights"),
        ({"model": "mean", "weights": "mean.safetensors", "classes": 4}, "another number of classes"),
        ({"model": "mean", "model_args": {"widht": 3}, "weights": "mean.safetensors"}, "widht"),
    ],
)
def test_mistakes_in_loading(weights, arguments, text):
    with pytest.raises(UserError, match=text):
        vidcore.load(**arguments)


@pytest.mark.parametrize(
    ("videos", "options", "text"),
    [
        ("none.mp4", {}, "no file none.mp4"),
        ("clips", {"views": 0}, "views must be between 1 and 1000000, got 0"),
        ("clips", {"batch_size": 1.5}, r"batch_size must be a whole number, got 1\.5"),
        ("clips", {"render": "clips"}, "holds the videos"),
        ("clips", {"accelerator": "abacus"}, "abacus"),
    ],
)
def test_mistakes_in_predicting(weights, clips, videos, options, text):
    with pytest.raises(UserError, match=text):
        vidcore.load(model="mean", weights=weights, classes=3).predict(videos, **options)
