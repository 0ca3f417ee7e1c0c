from __future__ import annotations

import subprocess
import sys

import pytest

from vidcore.cli import names, options
from vidcore.cli.signatures import UnclearError, parameters
from vidcore.errors import UsageError

PLUGIN = """
from __future__ import annotations
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from dataclasses import dataclass
from vidcore import VideoDataModule
from vid_base import Base as Renamed

PLUGIN_API = 1

@dataclass(frozen=True)
class Record:
    height: int = 1
    weight: float = 1.0

class Streams(Protocol):
    def step(self): ...

class Net(Streams, Renamed):
    def __init__(self, task, depth: int, record: Record | None = None, *, rate=0.1, **kwargs: Any) -> None:
        super().__init__(task, "spec", colour="red", **kwargs)

class Heir(Net):
    pass

class Elsewhere(Renamed):
    def __init__(self, task, **kwargs: Any) -> None:
        super().__init__(task, **{"width": 3, **kwargs})

class Two(Net, Renamed):
    pass

class Set(VideoDataModule):
    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)

maker = Net
"""
BASE = """
class Base:
    def __init__(self, task, spec, colour="blue", width: int = 3, *, taste="sweet"): ...
raise RuntimeError("imported")
"""


@pytest.fixture
def installed(fake_plugins, monkeypatch):
    models = {name.lower(): f"vid_options:{name}" for name in ("Net", "Heir", "Elsewhere", "Two", "maker", "Missing")}
    fake_plugins.add(
        "vidcore-options",
        {"vidcore.models": models, "vidcore.data": {"set": "vid_options:Set"}},
        {"vid_options": PLUGIN, "vid_base": BASE},
    )
    monkeypatch.setenv("VID_PLUGINS", "vidcore-options")
    return fake_plugins


def check(line: str, command: str = "fit") -> None:
    options.check(command, line.split(), names.chosen(command, line.split()))


NET = "--model net --data set --data.root x --model.depth 3"


@pytest.mark.parametrize("name", ["net", "heir"])
def test_arguments_are_read_from_the_source_up_to_the_base_class(installed, name):
    found = options.options_of("model", {"model": f"vidcore.models.{name}"})
    assert list(found) == ["depth", "record", "rate", "width", "taste"]
    assert [key for key, parameter in found.items() if parameter.required] == ["depth"]
    assert "vid_options" not in sys.modules


def test_arguments_of_a_data_set_include_vidcores_own(installed):
    found = options.options_of("data", {"data": "vidcore.data.set"})
    assert next(iter(found)) == "root"
    assert {"batch_size", "num_workers", "augment"} <= found.keys()


@pytest.mark.parametrize("name", ["elsewhere", "two", "maker", "missing"])
def test_what_the_source_does_not_tell_is_left_alone(installed, name):
    with pytest.raises(UnclearError):
        options.options_of("model", {"model": f"vidcore.models.{name}"})
    check(f"--model {name} --model.anything 1 --data set --data.root x")


@pytest.mark.parametrize("path", [("", "X"), ("no.such.package", "X"), ('{"class_path": "a', 'b"}'), ("json", "dumps")])
def test_no_class_at_all_is_unclear(path):
    with pytest.raises(UnclearError):
        parameters(*path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--trianer.max_epochs 1", "vid fit: no option --trianer.max_epochs; there are --config, --print_config"),
        ("--modle net", "no option --modle; did you mean --model? there are"),
        ("-model net", "no option -model; did you mean --model?"),
        (f"{NET} --verbose true", "no option --verbose"),
        (f"{NET} extra", "unexpected argument extra"),
        (f"{NET} --trainer.max_epoch 3", "--trainer.max_epoch; did you mean --trainer.max_epochs? --trainer has acc"),
        (f"{NET} --trainer.max_epoch=3", "did you mean --trainer.max_epochs?"),
        (f"{NET} --model.dept 3", "--model.dept; did you mean --model.depth? --model has depth, record, rate, width"),
        (f"{NET} --model.init_args.dept 3", "did you mean --model.depth?"),
        (f"{NET} --model.colour 3", "no option --model.colour; --model has depth"),
        (f"{NET} --model.record.wait 3", "did you mean --model.record.weight? --model.record has height, weight"),
        (f"{NET} --data.rot x", "did you mean --data.root?"),
        (f"{NET} --data.augment.hflop 0", "did you mean --data.augment.hflip?"),
        ("--model net --data set --model.depth 3", "vid fit --data set needs --data.root"),
        ("--model net --data set --data.root x", "vid fit --model net needs --model.depth"),
        (f"{NET} --config config.yaml", "config config.yaml, line 2: no option --trainer.max_epoch; did you mean"),
        (f'{NET} --config {{"model":{{"init_args":{{"dept":3}}}}}}', "did you mean --model.depth?"),
    ],
)
def test_options_that_do_not_exist_are_refused(installed, tmp_path, line, says):
    (tmp_path / "config.yaml").write_text("trainer:\n  max_epoch: 3\n")
    with pytest.raises(UsageError) as error:
        check(line)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert "vid_base" not in sys.modules


@pytest.mark.parametrize(
    "line",
    [
        NET,
        f"{NET} --trainer.max_steps -1 --trainer.callbacks+ X --trainer.callbacks.patience 3 --seed_everything=1",
        f"{NET} --trainer.logger wandb --trainer.logger.save_dir x --trainer.logger.init_args.name y",
        f"{NET} --model.record.weight 2 --model.class_path net --model.dict_kwargs.any 1 --model.taste sour",
        f"{NET} --ckpt_path c.ckpt --weights_only true",
        "--model net --data set --print_config",
        "--model.help net",
        "--model.help=net",
        "-h",
        "--config all.yaml",
        "--config other.yaml --model net --model.depth 3",
    ],
)
def test_options_that_exist_pass(installed, tmp_path, line):
    (tmp_path / "all.yaml").write_text(
        "model: {class_path: net, init_args: {depth: 3, task: null}}\n"
        "data: {class_path: set, init_args: {root: x}}\ntrainer: {logger: {class_path: W, init_args: {any: 1}}}\n"
    )
    # What is said of a class that the command line replaces does not count.
    (tmp_path / "other.yaml").write_text(
        "model: {class_path: elsewhere, init_args: {odd: 3}}\ndata: {class_path: set, init_args: {root: x}}\n"
    )
    check(line)


def test_verbose_is_of_the_commands_that_evaluate(installed):
    check(f"{NET} --verbose true", "test")


def test_the_environment_may_bring_what_is_needed(installed, monkeypatch):
    monkeypatch.setenv("VID_FIT__DATA__INIT_ARGS__ROOT", "x")
    check("--model net --data set --model.depth 3")


def test_the_source_tells_what_the_classes_say():
    """Of Trainer, and of vidcore's own base classes, nothing is missed and nothing invented."""
    import inspect

    from lightning.pytorch import Trainer

    from vidcore import VideoDataModule, VideoModule

    for cls in (Trainer, VideoDataModule, VideoModule):
        real = inspect.signature(cls.__init__).parameters
        found = parameters(cls.__module__, cls.__name__)
        assert list(found) == list(real)[1:]
        empty = [name for name, parameter in real.items() if parameter.default is parameter.empty][1:]
        assert [name for name, parameter in found.items() if parameter.required] == empty


@pytest.mark.parametrize(
    "line",
    [
        "--trainer.max_epoch 3",
        "--model.dept 3",
        "--data.rot x",
        "--model.record.wait 3",
    ],
)
def test_they_are_refused_before_torch_is_imported(installed, line):
    argv = ["fit", *NET.split(), *line.split()]
    program = f"import sys; from vidcore.cli import main; assert main({argv!r}) == 2; assert 'torch' not in sys.modules"
    environment = {"PYTHONPATH": str(installed.folder), "VID_PLUGINS": "vidcore-options"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "did you mean" in done.stderr


def test_jsonargparse_takes_no_abbreviation_either(capsys):
    from vidcore.cli.parser import VidParser

    parser = VidParser(prog="vid")
    parser.add_argument("--number.of_apples", type=int)
    assert parser.parse_args(["--number.of_apples", "3"]).number.of_apples == 3
    with pytest.raises(UsageError, match=r"unrecognized arguments: --number\.of_app"):
        parser.parse_args(["--number.of_app", "3"])
