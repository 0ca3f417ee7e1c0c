"""Short names on the command line, in config files and in the environment: ``movinet`` for ``vidcore.models.movinet``.

Nothing here imports torch, so a wrong name is answered at once.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcore import plugins
from vidcore.cli import configs
from vidcore.errors import UsageError

GROUPS = {"model": "vidcore.models", "data": "vidcore.data"}
"""Option to the entry-point group, and alias module, that its names are found in."""

_NAMING = ("", ".help", ".class_path")

LOGGERS = {
    "csv": ("lightning.pytorch.loggers.CSVLogger", None, ""),
    "tensorboard": ("lightning.pytorch.loggers.TensorBoardLogger", "tensorboard", "tensorboard"),
    "wandb": ("lightning.pytorch.loggers.WandbLogger", "wandb", '"vidcore[wandb]"'),
}
"""Short name to a logger's class, the module that it needs, and what to install for it."""


def class_path(option: str, name: str) -> str:
    """The class path of an installed plugin; what is a class path or a file already stays as it is.

    Args:
        option: ``model`` or ``data``.
        name: The plugin's name, or the text of a config part, ``{"class_path": NAME, …}``.

    Raises:
        PluginError: No such plugin is installed.
        UsageError: A text that is not YAML.
    """
    if configs.is_inline(name):
        part = configs.read_config(name)
        return configs.as_text(_expanded(part, functools.partial(class_path, option)))
    if "." in name or "/" in name or not name:
        return name
    plugins.find(GROUPS[option], name)
    return f"{GROUPS[option]}.{name}"


def logger(name: str) -> str:
    """The class path of a logger by its short name; anything else stays as it is.

    Raises:
        UsageError: No such logger, or what it needs is not installed.
    """
    if re.fullmatch("[a-z]+", name) and name not in (*LOGGERS, "true", "false", "null"):
        raise UsageError(f"--trainer.logger must be one of {', '.join(LOGGERS)}, false, or a class path, got {name!r}")
    path, needs, brings = LOGGERS.get(name, (name, None, ""))
    if needs is not None and importlib.util.find_spec(needs) is None:
        raise UsageError(f"--trainer.logger {name} needs a package that is not installed: pip install {brings}")
    return path


def installed(option: str) -> str:
    """The installed names for an option, for an error that misses one."""
    return ", ".join(plugins.names(GROUPS[option])) or "none: pip install one, e.g. vidcore-movinet"


def expand_arguments(arguments: Sequence[str]) -> list[str]:
    """A copy of the arguments with the names after ``--model`` and ``--data`` in full, in an order that always works.

    Config files come first, so that they lie below all arguments, and a name comes before its own options: jsonargparse
    takes ``--data folder --data.root clips``, but not ``--data.root clips --data folder``.
    """
    forms: dict[str, Callable[[str], str]] = {}
    for option in GROUPS:
        forms |= dict.fromkeys([f"--{option}{form}" for form in _NAMING], functools.partial(class_path, option))
    forms |= dict.fromkeys(("--trainer.logger", "--trainer.logger.class_path"), logger)
    command = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments[:1]))
    expanded = command + _first(arguments[len(command) :], ("-c", "--config"))
    for option in GROUPS:
        named = [index for index, argument in enumerate(expanded) if argument.partition("=")[0] == f"--{option}"]
        nested = [index for index, argument in enumerate(expanded) if argument.startswith(f"--{option}.")]
        if named and nested and named[-1] > nested[0]:
            length = 1 if "=" in expanded[named[-1]] else 2
            naming = expanded[named[-1] : named[-1] + length]
            del expanded[named[-1] : named[-1] + length]
            expanded[nested[0] : nested[0]] = naming
    for index, argument in enumerate(expanded):
        key, equals, value = argument.partition("=")
        if key not in forms:
            continue
        if equals:
            expanded[index] = f"{key}={forms[key](value)}"
        elif index + 1 < len(expanded) and not expanded[index + 1].startswith("-"):
            expanded[index + 1] = forms[key](expanded[index + 1])
    return expanded


def _first(arguments: Sequence[str], options: tuple[str, ...]) -> list[str]:
    """The arguments with these options, and their values, moved to the front."""
    first: list[str] = []
    rest: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument in options:
            first += [argument, *itertools.islice(given, 1)]
        else:
            (first if argument.partition("=")[0] in options else rest).append(argument)
    return first + rest


def expand_config(config: Any) -> Any:
    """A config tree with the names under ``model``, ``data`` and ``trainer.logger`` in full."""
    if not isinstance(config, Mapping):
        return config
    expanded = dict(config)
    for option in GROUPS:
        if option in expanded:
            expanded[option] = _expanded(expanded[option], functools.partial(class_path, option))
    trainer = expanded.get("trainer")
    if isinstance(trainer, Mapping) and "logger" in trainer:
        several = isinstance(trainer["logger"], list)
        loggers = [_expanded(each, logger) for each in (trainer["logger"] if several else [trainer["logger"]])]
        expanded["trainer"] = {**trainer, "logger": loggers if several else loggers[0]}
    return expanded


def _expanded(value: Any, expand: Callable[[str], str]) -> Any:
    """A config's value with its class's name in full; unchanged where it names no class."""
    if isinstance(value, str):
        return {"class_path": expand(value)}
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        return {**value, "class_path": expand(value["class_path"])}
    return value


def expand_environment(command: str) -> None:
    """Writes the names in ``VID_<COMMAND>__MODEL`` and ``__DATA`` in full; a second time changes nothing."""
    for option in GROUPS:
        variable = f"VID_{command.upper()}__{option.upper()}"
        if variable in os.environ:
            os.environ[variable] = class_path(option, os.environ[variable])


def variables(command: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The environment variables ``VID_<COMMAND>__…``, and the parts of the option that each stands for."""
    prefix = f"VID_{command.upper()}__"
    for name in sorted(os.environ):
        if name.startswith(prefix):
            parts = name.removeprefix(prefix).lower().split("__")
            yield name, tuple(part for part in parts if part != "init_args")


def chosen(command: str, arguments: Sequence[str]) -> dict[str, str]:
    """The class paths of the model and the data that a command line names, so far as it names them anywhere.

    Raises:
        PluginError: A name is not installed.
        UsageError: See ``vidcore.cli.configs.read_config``.
    """
    found: dict[str, str] = {}
    for option in GROUPS:
        if value := os.environ.get(f"VID_{command.upper()}__{option.upper()}"):
            found[option] = _path_in(class_path(option, value))
    sources = [os.environ[variable] for variable in (f"VID_{command.upper()}__CONFIG",) if variable in os.environ]
    for config in map(configs.read_config, [*sources, *values(arguments, ("-c", "--config"))]):
        for option in GROUPS:
            value = expand_config(config).get(option)
            if isinstance(value, Mapping) and "class_path" in value:
                found[option] = value["class_path"]
    for option in GROUPS:
        for value in values(arguments, (f"--{option}", f"--{option}.class_path")):
            found[option] = _path_in(class_path(option, value))
    return found


def _path_in(value: str) -> str:
    """The class path in the text of a config part; a class path itself stays as it is."""
    return str(configs.read_config(value).get("class_path", "")) if configs.is_inline(value) else value


def part_only(option: str, arguments: Sequence[str]) -> list[str]:
    """The arguments with each config reduced to its part for ``model`` or ``data``."""
    kept: list[str] = []
    given = iter(arguments)
    for argument in given:
        key, equals, value = argument.partition("=")
        if key in ("-c", "--config"):
            source = value if equals else next(given, "")
            part = {key: value for key, value in configs.read_config(source).items() if key == option}
            kept += ["--config", source if configs.is_remote(source) else configs.as_text(part)]
        else:
            kept.append(argument)
    return kept


def recipe(chosen: Mapping[str, str]) -> Path | None:
    """The defaults that the model's plugin ships for this data set, or else for any.

    They lie in ``recipes/MODEL`` where a plugin brings several models, else in ``recipes``.
    """
    prefix = GROUPS["model"] + "."
    if not chosen.get("model", "").startswith(prefix):
        return None
    model = chosen["model"].removeprefix(prefix)
    spec = importlib.util.find_spec(plugins.find(GROUPS["model"], model).package)
    for folder in spec.submodule_search_locations or () if spec else ():
        recipes = Path(folder) / "recipes"
        own = recipes / model
        for name in (chosen.get("data", "").rpartition(".")[2], "default"):
            path = (own if own.is_dir() else recipes) / f"{name}.yaml"
            if path.is_file():
                return path
    return None


def values(arguments: Sequence[str], options: tuple[str, ...]) -> Iterator[str]:
    """What stands after any of the options, in order."""
    for index, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        if key in options and equals:
            yield value
        elif argument in options and index + 1 < len(arguments):
            yield arguments[index + 1]
