from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vidcore.cli import main, names

TESTS = Path(__file__).parent

PLUGIN = """
PLUGIN_API = 1
from small_models import MeanColour, TwoStages
from colours import Colours
"""


@pytest.fixture
def installed(fake_plugins, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))
    fake_plugins.add(
        "vidcore-small",
        {
            "vidcore.models": {"mean": "vid_small:MeanColour", "staged": "vid_small:TwoStages"},
            "vidcore.data": {"colours": "vid_small:Colours"},
            "vidcore.commands": {"hello": "vid_hello:hello"},
        },
        {"vid_small": PLUGIN, "vid_hello": "PLUGIN_API = 1\ndef hello(command, argv):\n    print(command, argv)\n"},
    )
    monkeypatch.setenv("VID_PLUGINS", "vidcore-small,vidcore-deploy")
    return fake_plugins


def fit(root, *arguments):
    return [
        "fit",
        "--data.root",
        str(root / "clips"),
        "--trainer.max_epochs",
        "2",
        "--trainer.accelerator",
        "cpu",
        "--trainer.enable_progress_bar",
        "false",
        "--trainer.logger.save_dir",
        str(root / "runs"),
        *arguments,
    ]


def run_folder(root, name="mean_colours", version=0):
    return root / "runs" / name / f"version_{version}"


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "--json"],
        [],
        ["nonsense"],
        ["fit"],
        ["fit", "--model", "nobody"],
        ["fit", "--model", "nobody", "--data", "nothing"],
        ["fit", "--modle", "x"],
        ["test", "--ckpt_path", "missing.ckpt"],
        ["fit", "--config", "missing.yaml"],
        ["predict"],
        ["predict", "missing.mp4", "--ckpt_path", "missing.ckpt"],
        ["flops"],
        ["flops", "--model", "nobody"],
        ["list", "--wrong"],
    ],
)
def test_help_list_version_and_usage_errors_import_no_torch(argv):
    program = f"import sys; from vidcore.cli import main; main({argv!r}); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["nonsense"], "no command 'nonsense'; there are fit"),
        (["fit", "--data", "colours"], "vid fit needs --model NAME; installed: mean, staged"),
        (["fit", "--model", "maen", "--data", "colours"], "did you mean mean?"),
        (["fit", "--model", "adafocus", "--data", "colours"], "pip install vidcore-adafocus"),
        (
            ["fit", "--model", "mean", "--data", "colours", "--trianer.max_epochs", "1"],
            "no option --trianer.max_epochs",
        ),
        (["test", "--ckpt_path", "missing.ckpt"], "no checkpoint at missing.ckpt"),
        (["fit", "--config", "missing.yaml"], "no config file missing.yaml"),
        (["flops"], "needs --ckpt_path FILE or --model NAME; installed: mean, staged"),
    ],
)
def test_usage_errors_say_what_would_be_right(installed, capsys, argv, says):
    assert main(argv) == 2
    assert says in capsys.readouterr().err


def test_list(installed, capsys):
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["kind"], row["name"]) for row in rows if row["distribution"] == "vidcore-small"] == [
        ("models", "mean"),
        ("models", "staged"),
        ("data", "colours"),
        ("commands", "hello"),
    ]
    assert main(["list"]) == 0
    assert "pip install vidcore-movinet brings movinet" in capsys.readouterr().out


def test_a_plugin_brings_a_command(installed, capsys):
    assert main(["hello", "a"]) == 0
    assert capsys.readouterr().out == "hello ['a']\n"
    assert main(["--help"]) == 0
    assert "from vidcore-small" in capsys.readouterr().out


def test_arguments_and_configs_are_expanded_in_copies(installed):
    argv = ["--model", "mean", "--data=colours", "--model.help", "staged", "--model.help=mean", "--trainer.x", "mean"]
    kept = list(argv)
    assert names.expand_arguments(argv) == [
        "--model",
        "vidcore.models.mean",
        "--data=vidcore.data.colours",
        "--model.help",
        "vidcore.models.staged",
        "--model.help=vidcore.models.mean",
        "--trainer.x",
        "mean",
    ]
    assert argv == kept
    assert names.expand_arguments(["--model.lr", "1", "--data.root", "x", "--model", "mean", "--data=colours"]) == [
        "--model",
        "vidcore.models.mean",
        "--model.lr",
        "1",
        "--data=vidcore.data.colours",
        "--data.root",
        "x",
    ]
    config = {"model": "mean", "data": {"class_path": "colours", "init_args": {"root": "x"}}, "trainer": {}}
    assert names.expand_config(config) == {
        "model": {"class_path": "vidcore.models.mean"},
        "data": {"class_path": "vidcore.data.colours", "init_args": {"root": "x"}},
        "trainer": {},
    }
    assert names.expand_config(names.expand_config(config)) == names.expand_config(config)


@pytest.mark.parametrize(
    "way", ["space", "equals", "yaml_name", "yaml_class_path", "environment", "class_path", "json"]
)
def test_every_way_of_naming_a_model(installed, tmp_path, monkeypatch, way):
    arguments = ["--data", "colours", "--model.optim.lr", "0.07", "--trainer.fast_dev_run", "1"]
    config = tmp_path / "config.yaml"
    if way == "space":
        arguments = ["--model", "mean", *arguments]
    elif way == "equals":
        arguments = ["--model=mean", *arguments]
    elif way == "yaml_name":
        config.write_text("model: mean\ndata: colours\n")
        arguments = ["--config", str(config), *arguments[2:]]
    elif way == "yaml_class_path":
        config.write_text("model:\n  class_path: mean\n  init_args:\n    label_smoothing: 0.2\n")
        arguments = ["-c", str(config), *arguments]
    elif way == "environment":
        monkeypatch.setenv("VID_FIT__MODEL", "mean")
    elif way == "class_path":
        arguments = ["--model", "vidcore.models.mean", *arguments]
    else:
        arguments = ["--model", '{"class_path": "vidcore.models.mean"}', *arguments]
    seen = []
    from vidcore.cli.lightning import VidCLI

    monkeypatch.setattr(VidCLI, "before_fit", lambda cli: seen.append(cli.model), raising=False)
    assert main(fit(tmp_path, *arguments)) == 0
    assert type(seen[0]).__name__ == "MeanColour"
    assert seen[0].optim.lr == 0.07
    assert seen[0].label_smoothing == (0.2 if way == "yaml_class_path" else 0)


@pytest.mark.parametrize("argv", [["fit", "--model.help", "mean"], ["fit", "--model.help=mean"]])
def test_help_of_one_model(installed, capsys, argv):
    assert main(argv) == 0
    assert "--model.label_smoothing" in capsys.readouterr().out


def test_fit_then_test_and_predict_from_the_checkpoint_alone(installed, tmp_path, capsys, monkeypatch):
    before = list(sys.argv)
    assert (
        main(
            fit(
                tmp_path,
                "--model",
                "mean",
                "--data",
                "colours",
                "--model.optim.lr",
                "0.05",
                "--trainer.max_epochs",
                "8",
            )
        )
        == 0
    )
    assert sys.argv == before
    folder = run_folder(tmp_path)
    best = folder / "checkpoints" / "best.ckpt"
    import torch

    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 7, "last.ckpt must be of the last epoch, whichever was the best"
    assert torch.load(best, weights_only=True)["epoch"] < 7
    assert "next: vid test --ckpt_path" in capsys.readouterr().err

    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["model"]["class_path"] == "vidcore.models.mean"
    assert saved["data"]["class_path"] == "vidcore.data.colours"
    assert "task" not in saved["model"]["init_args"]

    assert main(["test", "--ckpt_path", str(best), "--trainer.logger.save_dir", str(tmp_path / "runs")]) == 0
    metrics = (run_folder(tmp_path, version=1) / "metrics.csv").read_text().splitlines()
    result = dict(zip(metrics[0].split(","), metrics[1].split(","), strict=True))
    assert float(result["test/top1"]) == 1
    assert float(result["test/gmacs"]) > 0

    (tmp_path / "clips" / "broken.mp4").write_bytes(b"not a video")
    clips = [str(tmp_path / "clips" / "red_0.mp4"), str(tmp_path / "clips" / "b*.mp4")]
    capsys.readouterr()
    assert main(["predict", *clips, "--ckpt_path", str(best), "--render", str(tmp_path / "drawn")]) == 1
    rows = {Path(row["path"]).name: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["red_0.mp4"]["top"][0]["class"] == "red"
    assert rows["blue_0.mp4"]["top"][0]["class"] == "blue"
    assert rows["red_0.mp4"]["gmacs"] > 0
    assert "broken.mp4" in rows["broken.mp4"]["error"]
    from vidcore.video import open_video

    with open_video(rows["red_0.mp4"]["rendered"]) as video:
        assert video.num_frames == 2

    # The saved config runs again, to the same config.
    again = main(["fit", "--config", str(folder / "config.yaml"), "--trainer.max_epochs", "1"])
    assert again == 0
    rerun = yaml.safe_load((run_folder(tmp_path, version=2) / "config.yaml").read_text())
    rerun["trainer"]["max_epochs"] = saved["trainer"]["max_epochs"]
    assert rerun == saved


def test_testing_on_other_classes_is_refused(installed, tmp_path, capsys, monkeypatch):
    assert main(fit(tmp_path, "--model", "mean", "--data", "colours", "--trainer.max_epochs", "1")) == 0
    best = run_folder(tmp_path) / "checkpoints" / "best.ckpt"
    capsys.readouterr()
    assert main(["test", "--ckpt_path", str(best), "--data.kind", "multi_label"]) == 1
    assert "knows 3 single_label classes (red, green, blue)" in capsys.readouterr().err


def test_a_checkpoint_that_would_run_code_is_refused(installed, tmp_path, capsys):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    bad = tmp_path / "bad.ckpt"
    bad.write_bytes(pickle.dumps({"state_dict": Evil()}))
    assert main(["test", "--ckpt_path", str(bad)]) == 1
    assert "no checkpoint that can be read safely" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_stages_through_the_command_line(installed, tmp_path):
    assert main(fit(tmp_path, "--model", "staged", "--data", "colours", "--trainer.max_epochs", "3")) == 0
    assert (run_folder(tmp_path, "staged_colours") / "checkpoints" / "last.ckpt").exists()


def test_flops(installed, capsys):
    assert main(["flops", "--model", "mean", "--classes", "10", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["gmacs"] * 1e9 == pytest.approx(3 * 8 + 8 * 10)
    assert report["parameters"] == 3 * 8 + 8 + 16 + 8 * 10 + 10
    assert main(["flops", "--model", "mean", "--model.clip.frames", "4"]) == 0
    assert "GMACs" in capsys.readouterr().out


def test_parameters_that_serve_training_alone_are_counted_nowhere(installed, capsys, caplog, monkeypatch, tmp_path):
    caplog.set_level("INFO", logger="lightning.pytorch.utilities.rank_zero")
    monkeypatch.setattr("vidcore.module.VideoModule.num_parameters", lambda self: 7654321)
    assert main(["flops", "--model", "mean", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 7654321
    for command in (["flops"], ["bench", "--repeats", "1"]):
        assert main([*command, "--model", "mean"]) == 0
        assert "7,654,321" in capsys.readouterr().out
    assert main(fit(tmp_path, "--model", "mean", "--data", "colours")) == 0
    assert "7.65 M parameters" in caplog.text
    summary = json.loads((run_folder(tmp_path, "mean_colours") / "report" / "summary.json").read_text())
    assert summary["parameters"] == 7654321


def test_flops_shows_the_family(installed, capsys, monkeypatch):
    rows = [{"depth": 5, "parameters": 2_500_000, "gmacs": 0.25}, {"depth": 10, "parameters": 5_000_000, "gmacs": 1.0}]
    monkeypatch.setattr("vidcore.module.VideoModule.family", lambda self: rows)
    assert main(["flops", "--model", "mean", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == rows
    assert main(["flops", "--model", "mean"]) == 0
    shown = capsys.readouterr().out
    assert "the family" in shown
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert cells[-2:] == [["5", "2.50", "0.25"], ["10", "5.00", "1"]]


def test_recipes_of_a_plugin_with_several_models(installed, monkeypatch):
    package = Path(installed.folder) / "several"
    for name in ("mean/default", "mean/colours", "staged"):
        path = package / "recipes" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(installed.folder))
    monkeypatch.setattr("vidcore.plugins.Plugin.package", "several")

    def recipe(model, data):
        path = names.recipe({"model": f"vidcore.models.{model}", "data": f"vidcore.data.{data}"})
        return path and str(path.relative_to(package / "recipes"))

    assert recipe("mean", "colours") == "mean/colours.yaml"
    assert recipe("mean", "other") == "mean/default.yaml"
    assert recipe("staged", "staged") == "staged.yaml"
    assert recipe("staged", "other") is None


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (
            ["--model", "mean", "--model.clip.frame", "4"],
            "did you mean --model.clip.frames? --model.clip has",
        ),
        (["--model", "mean", "--model.clip.frames", "0"], "--model.clip.frames must be between 1 and 10000, got 0"),
        (["--model", "mean", "--model.label_smothing", "0.1"], "did you mean --model.label_smoothing? --model has"),
        (["--model", "mean", "--model.label_smoothing", "much"], "--model.label_smoothing must be a number, got much"),
        (
            ["--model", "mean", "--model.optim.name", "adamm"],
            "must be one of adamw, sgd, rmsprop, rmsprop_tf, got",
        ),
    ],
)
def test_a_wrong_option_is_named_without_a_lecture(installed, capsys, argv, says):
    assert main(["flops", *argv]) != 0
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
