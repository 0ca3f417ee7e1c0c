"""Parsers of the commands that are not LightningCLI's. Nothing here imports torch before a model is built."""

from __future__ import annotations

import argparse
import functools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from vidcore.classes import MOST, read_classes
from vidcore.cli import names, options
from vidcore.errors import UsageError
from vidcore.ranges import described, in_range
from vidcore.task import Task

if TYPE_CHECKING:
    from vidcore.module import VideoModule

N = TypeVar("N", int, float)

MODEL_OPTIONS = """
the model:
  --ckpt_path FILE      a checkpoint that vid fit wrote; it names the model and its classes
  --model NAME          or an installed model, with its own options: --model.variant a2 …
  -c, --config FILE     a config file with a model part
  --weights NAME|FILE   weights for --model: published ones by name (vid weights list), or safetensors,
                        checkpoint or state dict
  --classes N|FILE      classes of --model: how many, or a text file with a name a line;
                        default: those of the method's published figures
"""


def number_in(interval: str) -> Callable[[str], float]:
    """The type of an option that is a number in an interval, see ``vidcore.ranges``."""
    return functools.partial(_number, float, "a number", interval)


def whole_in(interval: str) -> Callable[[str], int]:
    """The type of an option that is a whole number in an interval, see ``vidcore.ranges``."""
    return functools.partial(_number, int, "a whole number", interval)


def _number(kind: Callable[[str], N], called: str, interval: str, text: str) -> N:
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {called}, got {text}") from None
    if not in_range(value, interval):
        raise argparse.ArgumentTypeError(f"must be {described(interval)}, got {text}")
    return value


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are [`UsageError`][vidcore.errors.UsageError]; options cannot be abbreviated."""

    def __init__(self, command: str, description: str, **kwargs: Any) -> None:
        super().__init__(prog=f"vid {command}", description=description, allow_abbrev=False, **kwargs)

    def options(self) -> list[str]:
        """The long options there are."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def error(self, message: str) -> NoReturn:
        """An option that is not there gets the nearest ones and all there are."""
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            message = options.wrong_option(unknown[0], self.options())
        if about := re.fullmatch(r"argument (\S+?)(?:/\S+)?: (.*)", message):
            option, wrong = about.groups()
            if choice := re.fullmatch(r"invalid choice: (.*) \(choose from (.*)\)", wrong):
                wrong = f"must be one of {choice[2].replace(chr(39), '')}, got {choice[1]}"
            wrong = wrong.replace("expected one argument", "needs a value")
            raise UsageError(f"{option} {wrong}" if option.startswith("-") else f"{self.prog}: {option} {wrong}")
        raise UsageError(f"{self.prog}: {message}")


class ModelParser(Parser):
    """A parser of a command that works with one model: named by a checkpoint, or by name and weights."""

    def __init__(self, command: str, description: str, **kwargs: Any) -> None:
        super().__init__(
            command,
            description,
            epilog=MODEL_OPTIONS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **kwargs,
        )
        for option in ("--ckpt_path", "--weights", "--classes"):
            self.add_argument(option, help=argparse.SUPPRESS)

    def options(self) -> list[str]:
        """The long options there are, the model's among them."""
        return [*super().options(), "--model", "--config"]

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parses and checks without torch; what belongs to the model itself is kept in ``model_arguments``.

        Raises:
            UsageError: No model, two, or a file that is not there.
            PluginError: The model is not installed.
        """
        command = self.prog.removeprefix("vid ")
        own, model = _split(names.expand_arguments(argv))
        arguments = self.parse_args(own)
        arguments.model_arguments = model
        if any(argument.startswith("--model.help") for argument in model):
            return arguments
        if arguments.ckpt_path is not None:
            if model or arguments.weights or arguments.classes:
                raise UsageError("--ckpt_path names the model, its weights and its classes: leave out the others")
            if not Path(arguments.ckpt_path).is_file():
                raise UsageError(f"no checkpoint at {arguments.ckpt_path}")
        elif not model:
            known = names.installed("model")
            raise UsageError(f"{self.prog} needs --ckpt_path FILE or --model NAME; installed: {known}")
        options.check(command, model, names.chosen(command, model))
        if arguments.weights is not None and not _may_be_weights(arguments.weights):
            raise UsageError(f"no weights at {arguments.weights}")
        if arguments.classes is not None:
            arguments.classes = _classes(arguments.classes)
        return arguments


def _classes(given: str) -> tuple[str, ...]:
    """The class names that ``--classes`` gives, by their number or in a file.

    Raises:
        UsageError: It is neither.
        UserError: The file cannot be read, or is not a list of classes.
    """
    if given.isdecimal() and len(given) <= len(str(MOST)) and 1 <= int(given) <= MOST:
        return Task.numbered(int(given)).classes
    if not os.path.isfile(given):  # noqa: PTH113 - False for a name that is too long as well
        raise UsageError(f"--classes {given[:100]} is neither a file nor a number from 1 to {MOST}")
    return read_classes(given)


def _may_be_weights(source: str) -> bool:
    """Whether it is a file, or could be the name of published weights, which only the model knows."""
    return Path(source).is_file() or source.isidentifier()


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and those of the model, each with its value."""
    own: list[str] = []
    model: list[str] = []
    given = iter(argv)
    for argument in given:
        key, equals, _ = argument.partition("=")
        if key in ("--model", "-c", "--config") or key.startswith("--model."):
            model.append(argument)
            if not equals:
                model.extend(value for value in [next(given, None)] if value is not None)
        else:
            own.append(argument)
    return own, model


def load_model(arguments: argparse.Namespace, trained: bool = False) -> VideoModule:
    """The model that the arguments name, on the CPU and in eval mode.

    Args:
        arguments: From ``ModelParser.parse``.
        trained: Refuse a model whose weights, or whose classifier's, are as initialised.

    Raises:
        UserError: The checkpoint or the weights are unreadable or do not fit.
    """
    if arguments.ckpt_path is not None:
        from vidcore.module import load_module

        return load_module(arguments.ckpt_path)

    from vidcore.cli.parser import VidParser
    from vidcore.module import VideoModule

    parser = VidParser()
    parser.add_argument("-c", "--config", action="config")
    parser.add_subclass_arguments(VideoModule, "model", skip={"task"}, required=True)

    def instantiate(cls: type[VideoModule], *args: Any, **kwargs: Any) -> VideoModule:
        task = Task("single_label", arguments.classes) if arguments.classes else cls.reference(**kwargs)
        return cls(task, *args, **kwargs)

    parser.add_instantiator(instantiate, VideoModule, subclasses=True)
    given = arguments.model_arguments
    with options.full_names(names.chosen("", given), given):
        model = parser.instantiate_classes(parser.parse_args(names.part_only("model", given))).model
    weights = arguments.weights or model.weights
    if weights is not None:
        untrained = model.load_weights(weights)
        if untrained and trained:
            raise UsageError(
                f"{weights} has another number of classes than the model's {model.task.num_classes}: "
                "name them with --classes"
            )
    elif trained:
        raise UsageError("a model by name needs --weights FILE, or name a checkpoint with --ckpt_path")
    return model.eval()
