"""Each mistake on the command line, in a config or in the environment is one line, and leaves nothing behind."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from running import COMMON, fit, installed  # noqa: F401

from vidcore import ClipSpec, Optim, UserError
from vidcore.cli import COMMANDS, configs, main
from vidcore.errors import OptionError
from vidcore.ranges import check_ranges, class_ranges, described, in_range
from vidcore.video.flow import FlowSource
from vidcore.video.transforms import Augment

PAIR = ["--model", "mean", "--data", "videos", "--data.root", "clips"]

VIDEOS = """
from typing import Any
from vidcore import Task, VideoDataModule

PLUGIN_API = 1

class Videos(VideoDataModule):
    task = Task.numbered(3)

    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
"""


@pytest.fixture(autouse=True)
def videos(installed, fake_plugins, monkeypatch):  # noqa: F811
    """Data with all options of the base class."""
    fake_plugins.add("vidcore-videos", {"vidcore.data": {"videos": "vid_videos:Videos"}}, {"vid_videos": VIDEOS})
    monkeypatch.setenv("VID_PLUGINS", "vidcore-small,vidcore-videos,vidcore-deploy,vidcore-datasets")


def mistake(capsys, *argv):
    """The one line on stderr of a command that exits with 2 and leaves no run."""
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert not Path("runs").exists()
    (line,) = err.splitlines()
    return line.removeprefix("vid: error: ")


# Ranges.


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "text"),
    [
        ("[0, 1]", (0, 1, 0.5), (-0.1, 1.1), "between 0 and 1"),
        ("[0, 1)", (0,), (1,), "at least 0 and less than 1"),
        ("(0, 1]", (1,), (0,), "greater than 0 and at most 1"),
        ("[1, inf)", (1, 10**9), (0,), "at least 1"),
        ("(0, inf)", (1e-9,), (0,), "greater than 0"),
    ],
)
def test_intervals(interval, inside, outside, text):
    assert all(in_range(number, interval) for number in inside)
    assert not any(in_range(number, interval) for number in (*outside, math.nan, math.inf, -math.inf, "1"))
    assert described(interval) == text


def test_values_of_sequences_and_absent_ones():
    check_ranges({"std": (1.0, 2.0), "fps": None}, {"std": "(0, inf)", "fps": "(0, inf)", "other": "(0, 1)"})
    with pytest.raises(OptionError, match=r"^clip\.std must be greater than 0, got \(1\.0, 0\.0\)$"):
        check_ranges({"std": (1.0, 0.0)}, {"std": "(0, inf)"}, "clip.")


def test_ranges_of_a_class_add_to_those_of_its_bases():
    base = type("Base", (), {"RANGES": {"a": "[0, 1]", "b": "[0, 1]"}})
    assert class_ranges(type("Heir", (base,), {"RANGES": {"b": "[0, 2]"}})) == {"a": "[0, 1]", "b": "[0, 2]"}


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        *((Optim, {name: value}) for name in ("lr", "weight_decay", "momentum", "warmup", "ema")
          for value in (-1.0, math.nan, math.inf)),
        (Optim, {"name": "adamm"}),
        (Optim, {"schedule": "sine"}),
        *((Augment, {name: value}) for name in ("hflip", "randaugment", "mixup", "cutmix", "erasing")
          for value in (-1, math.nan, math.inf)),
        *((ClipSpec, {name: value}) for name in ("segments", "frames", "stride", "fps", "size", "audio_seconds")
          for value in (0, -1, math.nan, math.inf)),
        (ClipSpec, {"mean": (0.0,)}),
        (ClipSpec, {"std": (1.0, 0.0, 1.0)}),
        (ClipSpec, {"modalities": ("smell",)}),
        (FlowSource, {"method": "guess"}),
        (FlowSource, {"published": "/flow/{stem"}),
    ],
)  # fmt: skip
def test_records_check_their_values(cls, options):
    with pytest.raises(OptionError, match=f"{next(iter(options))}.* (must|may)"):
        cls(**options)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--data.batch_size", "0", "--data.batch_size must be between 1 and 1000000, got 0"),
        ("--data.batch_size", "9" * 20, "--data.batch_size must be between 1 and 1000000"),
        ("--data.num_workers", "-1", "--data.num_workers must be between 0 and 1024, got -1"),
        ("--data.timeout", ".nan", "--data.timeout must be greater than 0 and at most 1000000, got nan"),
        ("--data.timeout", ".inf", "--data.timeout must be greater than 0"),
        ("--data.max_unreadable", "-0.5", "--data.max_unreadable must be between 0 and 1"),
        ("--data.views", "0", "--data.views must be between 1"),
        ("--data.crops", "2", "--data.crops must be one of 1, 3, got 2"),
        ("--data.decoder", "vhs", "--data.decoder must be one of pyav, torchcodec, decord, got 'vhs'"),
        ("--data.short", "cut", "--data.short must be one of clamp, loop, got cut"),
        ("--data.augment.hflip", "2", "--data.augment.hflip must be between 0 and 1, got 2.0"),
        ("--data.flow.method", "guess", "--data.flow.method must be one of farneback, tvl1"),
        ("--model.label_smoothing", "1", "--model.label_smoothing must be at least 0 and less than 1, got 1.0"),
        ("--model.optim.lr", "-0.1", "--model.optim.lr must be at least 0, got -0.1"),
        ("--model.optim.name", "adamm", "--model.optim.name must be one of adamw, sgd, rmsprop, rmsprop_tf"),
        ("--model.clip.fps", ".nan", "--model.clip.fps must be greater than 0 and at most 1000, got nan"),
        ("--trainer.max_epochs", "-5", "--trainer.max_epochs must be at least -1, got -5"),
        ("--trainer.check_val_every_n_epoch", "0", "--trainer.check_val_every_n_epoch must be at least 1"),
        ("--trainer.gradient_clip_val", ".nan", "--trainer.gradient_clip_val must be at least 0, got nan"),
        ("--trainer.limit_train_batches", "-1", "limit_train_batches"),
        ("--trainer.accelerator", "abacus", "Available names are: auto"),
        ("--trainer.devices", "0", "devices"),
        ("--trainer.precision", "12", "--trainer.precision must be one of 64, 32, 16, transformer-engine"),
        ("--trainer.logger", "diary", "--trainer.logger must be one of csv, tensorboard, wandb"),
        ("--trainer.logger", "a.b.C", "--trainer.logger: No module named 'a' (given a.b.C)"),
        ("--trainer.max_time", "soon", "Timer(duration='soon')"),
        ("--trainer.benchmark", "maybe", "--trainer.benchmark must be true or false, got maybe"),
        ("--seed_everything", "-1", "--seed_everything must be between 0 and 4294967295, got -1"),
    ],
)
def test_options_of_a_training(capsys, option, value, says):
    assert says in mistake(capsys, "fit", *PAIR, *COMMON, option, value)


@pytest.mark.parametrize("argv", [["--data.root"], ["--trainer.max_epochs", "--seed_everything", "1"]])
def test_a_value_that_is_missing(capsys, argv):
    assert mistake(capsys, "fit", *PAIR[:4], *argv) == f"{argv[0]} needs a value"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("predict x.mp4 --batch_size 0", "--batch_size must be between 1 and 1000000, got 0"),
        ("predict x.mp4 --num_workers -1", "--num_workers must be between 0 and 1024, got -1"),
        ("predict x.mp4 --timeout nan", "--timeout must be greater than 0 and at most 1000000, got nan"),
        ("predict x.mp4 --timeout soon", "--timeout must be a number, got soon"),
        ("predict x.mp4 --views ²", "--views must be a whole number, got ²"),
        ("predict x.mp4 --output", "--output needs a value"),
        ("stream x.mp4 --timeout 0", "--timeout must be greater than 0"),
        ("stream x.mp4 --smooth nan", "--smooth must be between 0 and 1000000, got nan"),
        ("stream x.mp4 --reconnect ²", "--reconnect must be a whole number, got ²"),
        ("bench --repeats 0", "--repeats must be between 1 and 1000000, got 0"),
        ("bench --accelerator abacus", "--accelerator must be one of auto, cpu, gpu, got 'abacus'"),
        ("data check x --timeout inf", "--timeout must be greater than 0"),
        ("data check x --num_workers 0", "--num_workers must be between 1 and 1024, got 0"),
        ("data prepare --to x --as gif", "--as must be one of video, frames, shards, got 'gif'"),
        ("data prepare --to x --as video --short_side -1", "--short_side must be between 16 and 16384, got -1"),
        ("data prepare --to x --as shards --shard_mb inf", "--shard_mb must be greater than 0"),
        ("list --names foo", "--names must be one of backbones, commands, data, models, primitives, got 'foo'"),
        ("completion foo", "shell must be one of bash, zsh, fish, got 'foo'"),
    ],
)
def test_options_of_other_commands(capsys, argv, says):
    assert says in mistake(capsys, *argv.split())


# Configs.

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12)
)

CONFIGS = {
    "binary": (os.urandom(100).replace(b"\x00", b"") + b"\xff\xfe", "is not text in UTF-8"),
    "latin": ("# gr\xfcn\nmodel: mean\n".encode("latin-1"), "is not text in UTF-8: invalid start byte at byte 4"),
    "utf16": ("model: mean\n".encode("utf-16"), "is not text in UTF-8"),
    "nul": (b"model: me\0an\n", "is not YAML: unacceptable character"),
    "empty": (b"", "is empty"),
    "comment": (b"# nothing\n", "is empty"),
    "list": (b"- a\n- b\n", "must map keys to values"),
    "word": (b"hello\n", "must map keys to values"),
    "open": (b"a: [1, 2", "line 1: not YAML: expected ',' or ']'"),
    "tab": (b"trainer:\n\tmax_epochs: 1\n", "line 2: not YAML: found character '\\t'"),
    "two": (b"model: mean\n---\ndata: colours\n", "line 2: not YAML"),
    "twice": (b"trainer:\n  max_epochs: 1\n  max_epochs: 2\n", "line 3: max_epochs is on line 2 already"),
    "bomb": (BOMB.encode(), "more than 100000 values once its aliases are expanded"),
    "itself": (b"trainer: &t\n  max_epochs: 1\n  callbacks: *t\n", "line 1: an alias contains itself"),
    "deep": (b"a: " + b"[" * 60 + b"]" * 60, "more than 50 levels"),
    "deeper": (b"a: " + b"[" * 1000 + b"]" * 1000, "more than 50 levels"),
    "date": (b"trainer: {max_time: 2020-99-99}\n", "month must be in 1..12"),
    "code": (b"model: !!python/object/apply:os.system ['touch ran']\n", "line 1: not YAML: could not determine"),
    "trainr": (b"model: mean\n\ntrainr:\n  max_epochs: 1\n", "line 3: no option trainr; did you mean trainer?"),
    "odd": (b"colour: red\n", "line 1: no option colour; there are seed_everything, trainer, model, data"),
    "number": (b"1: 2\n", "line 1: no option 1;"),
    "nested": (
        b"model:\n  class_path: mean\n  init_args:\n    label_smothing: 0.1\n",
        "line 4: no option --model.label_smothing; did you mean --model.label_smoothing?",
    ),
    "inner": (
        b"model:\n  class_path: mean\n  init_args:\n    clipp:\n      frames: 3\n",
        "line 4: no option --model.clipp; did you mean --model.clip?",
    ),
    "null": (b"model:\n", "line 1: model must map keys to values, or name a plugin"),
    "sequence": (b"trainer: [1]\n", "line 1: trainer must map keys to values"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs(capsys, name):
    content, says = CONFIGS[name]
    Path("c.yaml").write_bytes(content)
    for command in (["fit", *PAIR, *COMMON], ["flops", "--model", "mean"], ["data", "check", *PAIR[2:]]):
        line = mistake(capsys, *command, "-c", "c.yaml")
        assert line.startswith("config c.yaml")
        assert says in line
    assert not Path("ran").exists()


def test_configs_that_are_no_files(capsys):
    Path("folder.yaml").mkdir()
    assert mistake(capsys, "fit", "-c", "folder.yaml") == "config folder.yaml is a folder, not a file"
    assert mistake(capsys, "fit", "-c", "missing.yaml") == "no config file missing.yaml"
    assert mistake(capsys, "fit", "-c", "") == "no config file ''"


def test_a_config_in_the_environment(capsys, monkeypatch):
    Path("c.yaml").write_text("trainr: {}\n")
    monkeypatch.setenv("VID_FIT__CONFIG", "c.yaml")
    assert mistake(capsys, "fit", *PAIR).startswith("config c.yaml, line 1: no option trainr; did you mean trainer?")


def test_values_in_a_config(capsys):
    Path("c.yaml").write_text("data: {class_path: videos, init_args: {root: clips, batch_size: 0, short: loop}}\n")
    assert "--data.batch_size must be between 1" in mistake(capsys, "fit", "--model", "mean", "-c", "c.yaml")
    Path("c.yaml").write_text("model: {class_path: mean, init_args: {optim: {schedule: sine}}}\n")
    assert "--model.optim.schedule must be one of cosine, constant" in mistake(capsys, "flops", "-c", "c.yaml")


def test_lines_of_keys_and_aliases_that_are_harmless():
    text = "base: &b {lr: 1}\nmodel:\n  init_args:\n    optim: *b\n"
    content, lines = configs.parsed(text, "config")
    assert content == {"base": {"lr": 1}, "model": {"init_args": {"optim": {"lr": 1}}}}
    assert lines["model", "init_args", "optim"] == 4
    assert configs.parsed("{<<: {a: 1}, b: 2}", "config")[0] == {"a": 1, "b": 2}


def test_commands_of_one_model_take_the_config_of_a_run(capsys):
    run = {"seed_everything": 1, "trainer": {"max_epochs": 1}, "data": {"class_path": "colours"}, "model": "mean"}
    Path("run.yaml").write_text(yaml.safe_dump(run))
    assert main(["flops", "-c", "run.yaml", "--json"]) == 0


def test_a_model_as_json(capsys):
    given = '{"class_path": "mean", "init_args": {"label_smothing": 0.1}}'
    assert "did you mean --model.label_smoothing?" in mistake(capsys, "flops", "--model", given)
    assert main(["flops", "--model", given.replace("smoth", "smooth"), "--json"]) == 0
    capsys.readouterr()
    assert "line 1: not YAML" in mistake(capsys, "flops", "--model", '{"class_path": "mean"')


# The environment.


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("VID_FIT__MODL", "did you mean VID_FIT__MODEL?"),
        ("VID_FIT__TRAINR__MAX_EPOCHS", "did you mean VID_FIT__TRAINER?"),
        ("VID_FIT__TRAINER__MAX_EPOCH", "did you mean VID_FIT__TRAINER__MAX_EPOCHS?"),
        ("VID_FIT__TRAINER__LOGGER__NAME", "did you mean VID_FIT__TRAINER__LOGGER?"),
        ("VID_FIT__MODEL__LABEL_SMOTHING", "did you mean VID_FIT__MODEL__LABEL_SMOOTHING?"),
        ("VID_FIT__MODEL__OPTIM__LRR", "did you mean VID_FIT__MODEL__OPTIM__LR?"),
        ("VID_FIT__MODEL__INIT_ARGS__OPTIM__LRR", "did you mean VID_FIT__MODEL__OPTIM__LR?"),
        ("VID_FIT__SEED_EVERYTHING__X", "names no option of vid fit"),
    ],
)
def test_variables_of_the_command_that_name_no_option(capsys, monkeypatch, variable, says):
    monkeypatch.setenv(variable, "1")
    line = mistake(capsys, "fit", *PAIR, *COMMON)
    assert line.startswith(f"environment variable {variable} names no option of vid fit; ")
    assert says in line


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("VID_PLUGIN", "did you mean VID_PLUGINS?"),
        ("VID_FIT_MODEL", "did you mean VID_FIT__MODEL?"),
        ("VID_PREDICT__BATCH_SIZE", "used are VID_PLUGINS and"),
        ("VID_CONFIG", "used are VID_PLUGINS and"),
    ],
)
def test_variables_that_no_command_reads(capsys, monkeypatch, variable, hint):
    monkeypatch.setenv(variable, "1")
    assert main(["list", "--names", "models"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vid: warning: environment variable {variable} is not used; {hint}")


def test_variables_of_model_and_data(capsys, monkeypatch):
    monkeypatch.setenv("VID_FIT__MODEL__OPTIM__NAME", "adamm")
    assert "--model.optim.name must be one of adamw" in mistake(capsys, "fit", *PAIR)
    monkeypatch.setenv("VID_FIT__MODEL__OPTIM__NAME", "sgd")
    monkeypatch.setenv("VID_FIT__DATA__INIT_ARGS__BATCH_SIZE", "0")
    assert "--data.batch_size must be between 1" in mistake(capsys, "fit", *PAIR)
    monkeypatch.setenv("VID_FIT__DATA__INIT_ARGS__BATCH_SIZE", "3")
    monkeypatch.setenv("VID_FIT__DATA__ROOT", "elsewhere")
    assert main(["fit", *PAIR[:4], "--data.root", "clips", "--model.optim.lr", "0.5", "--print_config"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["init_args"]["optim"]["name"] == "sgd"
    assert config["model"]["init_args"]["optim"]["lr"] == 0.5
    assert config["data"]["init_args"]["batch_size"] == 3
    assert config["data"]["init_args"]["root"] == "clips", "an argument is stronger"


# Help and hints.


@pytest.mark.parametrize(
    "words",
    [
        *([name] for name in COMMANDS),
        *(["data", name] for name in ("check", "prepare", "stats")),
        *(["weights", name] for name in ("list", "convert")),
        ["plugin", "new"],
    ],
)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help(capsys, words, flag):
    assert main([*words, flag]) == 0
    out, err = capsys.readouterr()
    assert "usage" in out.lower()
    assert err == ""


def test_help_before_the_command(capsys):
    assert main(["help", "weights"]) == 0
    assert "convert" in capsys.readouterr().out


def test_help_of_a_data_set_in_data_commands(capsys):
    for command in ("check", "stats", "prepare"):
        assert main(["data", command, "--data.help", "colours"]) == 0
        assert "--data.root" in capsys.readouterr().out


def test_a_command_of_a_plugin_that_is_not_installed(capsys, monkeypatch):
    monkeypatch.setenv("VID_PLUGINS", "")
    assert (
        mistake(capsys, "exits")
        == "no command named 'exits' is installed; this brings it: pip install vidcore-adafocus"
    )


# A failed start.


@pytest.mark.parametrize(
    "argv",
    [
        ["--model.weights", "missing.pt"],
        ["--data.decoder", "decord", "--data.num_workers", "0"],
        ["--trainer.logger.version", "mine", "--model.weights", "missing.pt"],
        ["--trainer.logger.save_dir", "a/b/c", "--model.weights", "missing.pt"],
    ],
)
def test_a_failed_start_leaves_no_run(capsys, monkeypatch, argv):
    monkeypatch.setitem(sys.modules, "decord", None)  # as where it is not installed
    assert main(fit(*argv)) in (1, 2)
    lines = [line for line in capsys.readouterr().err.splitlines() if "vid: error: " in line]
    assert len(lines) == 1
    assert not Path("runs").exists()
    assert not Path("a").exists()


def test_a_failed_start_keeps_the_runs_that_are_there(capsys):
    assert main(fit()) == 0
    kept = sorted(Path("runs").rglob("*"))
    assert main(fit("--model.weights", "missing.pt")) == 1
    assert sorted(Path("runs").rglob("*")) == kept


def test_a_run_that_fails_later_stays(capsys, monkeypatch):
    def fail(self):
        raise UserError("later")

    monkeypatch.setattr("vidcore.module.VideoModule.on_train_epoch_end", fail)
    assert main(fit()) == 1
    assert Path("runs", "mean_colours", "version_0", "config.yaml").is_file()


def test_what_lightning_says_that_nobody_can_act_on(capsys, caplog):
    assert main(fit()) == 0
    err = capsys.readouterr().err + caplog.text
    for text in ("Seed set to", "GPU available", "TPU available", "Loading `train_dataloader`", "Tip"):
        assert text not in err


def test_a_file_where_a_folder_is_needed(capsys):
    Path("file").write_text("")
    assert main(["data", "check", "file", "--output", "file/report.csv"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "vid: error: file: it, or a folder above it, is a file"


# Odd terminals and streams.


def vid(arguments, redirect="", **environment):
    command = f"{sys.executable} -m vidcore.cli {arguments} {redirect}"
    return subprocess.run(command, shell=True, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", ["list", "--help"])
def test_output_to_a_full_disk(arguments):
    done = vid(arguments, "> /dev/full")
    assert (done.returncode, done.stderr) == (1, "vid: error: No space left on device\n")


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_closed_streams():
    for redirect in (">&-", "<&-", "2>&-"):
        done = vid("list", redirect)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"COLUMNS": "20"}, {"COLUMNS": "x"}])
def test_odd_terminals(environment):
    for arguments in ("predict --help", "list"):
        done = vid(arguments, **environment)
        assert (done.returncode, done.stderr) == (0, "")
    done = vid("nothing…", **environment)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_sigterm_in_a_training(capsys, monkeypatch):
    def terminated(self, batch, batch_idx):
        os.kill(os.getpid(), signal.SIGTERM)
        return super(MeanColour, self).training_step(batch, batch_idx)

    from small_models import MeanColour

    monkeypatch.setattr(MeanColour, "training_step", terminated)
    assert main(fit()) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "vid: terminated"


def test_a_table_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    assert main(["flops", "--model", "mean"]) == 0
    assert "parameters" in capsys.readouterr().out
