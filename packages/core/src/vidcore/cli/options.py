"""Options that do not exist, told before torch is imported.

What the source of the classes does not tell is left to jsonargparse, which judges everything once more.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from vidcore import plugins
from vidcore.cli import UsageError, names
from vidcore.cli.signatures import Parameter, UnclearError, fields, parameters

TOP_LEVEL = ("config", "print_config", "seed_everything", "trainer", "model", "data", "ckpt_path", "weights_only")
"""The first parts of all options there are; ``validate`` and ``test`` also have ``verbose``."""

_OWN = ("help", "class_path", "dict_kwargs")
"""What jsonargparse adds below an option that is a class."""

Path = tuple[str, ...]
"""The parts of an option between its dots, without ``init_args``."""


def wrong_option(given: str, options: Sequence[str], below: str = "") -> str:
    """What to say of an option that does not exist.

    Args:
        given: The option, or an argument that is none.
        options: Those there are.
        below: The beginning that all of them share, as ``--trainer.``, which ``options`` are without.
    """
    given = given.partition("=")[0]
    if not given.startswith("-"):
        return f"unexpected argument {given}"
    near = difflib.get_close_matches(given.removeprefix(below), options, n=1)
    hint = f"; did you mean {below}{near[0]}?" if near else ";"
    there_are = f"{below.rstrip('.')} has" if below else "there are"
    return f"no option {given}{hint} {there_are} {', '.join(options)}"


def top_level(command: str) -> list[str]:
    """The first parts of all options of ``fit``, ``validate`` or ``test``."""
    return [f"--{name}" for name in (*TOP_LEVEL, *(() if command == "fit" else ("verbose",)))]


def options_of(option: str, chosen: Mapping[str, str]) -> dict[str, Parameter]:
    """What may follow ``--trainer.``, ``--model.`` or ``--data.``, by name.

    Raises:
        UnclearError: No class is chosen, or its source does not tell.
    """
    if option == "trainer":
        return parameters("lightning.pytorch", "Trainer")
    module, _, name = chosen.get(option, "").rpartition(".")
    if module == names.GROUPS.get(option):
        entry_point = plugins.find(module, name).entry_point
        module, name = entry_point.module, entry_point.attr
    found = parameters(module, name)
    return {name: found[name] for name in found if (option, name) != ("model", "task")}  # which comes from the data


def check(command: str, argv: Sequence[str], chosen: Mapping[str, str]) -> None:
    """Refuses options that do not exist, in arguments and config files, and a class that misses one that it needs.

    Args:
        command: Whose arguments these are.
        argv: The arguments; config files that they name are read.
        chosen: The class paths of model and data, so far as known.

    Raises:
        UsageError: An option does not exist, or one that is needed is missing.
    """
    _check_first_parts(command, argv)
    sources = _sources(command, argv, chosen)
    given = [*_of_arguments(command, argv), *(path for source in sources for path in _of_config(source, chosen))]
    for where, path in given:
        _check_path(where, path, chosen)
    unseen = {"--ckpt_path", "--print_config", "--help", "-h", "--model.help", "--data.help"}
    if unseen.isdisjoint(argument.partition("=")[0] for argument in argv) and not any("://" in s for s in sources):
        for option in names.GROUPS:
            _check_complete(command, option, chosen, {path[1] for _, path in given if path[0] == option and path[1:]})


def _check_first_parts(command: str, argv: Sequence[str]) -> None:
    for previous, argument in pairwise(["", *argv]):
        if argument.startswith("-") and not _is_number(argument):
            key = argument.partition("=")[0]
            if key not in ("-c", "-h", "--help") and key.partition(".")[0].rstrip("+") not in top_level(command):
                raise UsageError(f"vid {command}: {wrong_option(key, top_level(command))}")
        elif not previous.startswith("-") or "=" in previous:
            raise UsageError(f"vid {command}: {wrong_option(argument, ())}")


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return True
    return False


def _sources(command: str, argv: Sequence[str], chosen: Mapping[str, str]) -> list[str]:
    """The configs that count, the recipe among them."""
    recipe, variable = names.recipe(chosen), f"VID_{command.upper()}__CONFIG"
    environment = [os.environ[variable]] if variable in os.environ else []
    return [*([str(recipe)] if recipe else []), *environment, *names.values(argv, ("-c", "--config"))]


def _of_arguments(command: str, argv: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for argument in argv:
        key = argument.partition("=")[0]
        if key.startswith("--"):
            yield f"vid {command}", _path(key[2:].rstrip("+").split("."))


def _of_config(source: str, chosen: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    config = names.expand_config(names.read_config(source))
    for option in names.GROUPS:
        part = config.get(option)
        if isinstance(part, Mapping) and part.get("class_path", chosen.get(option)) != chosen.get(option):
            del config[option]  # of a class that another source replaces
    where = "the config given" if source.lstrip().startswith("{") else f"config {source}"
    return ((where, _path(keys)) for keys in _keys(config))


def _keys(config: Mapping[str, Any]) -> Iterator[list[str]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from ([str(key), *rest] for rest in _keys(value))
        else:
            yield [str(key)]


def _path(parts: Sequence[str]) -> Path:
    return tuple(part for part in parts if part != "init_args")


def _check_path(where: str, path: Path, chosen: Mapping[str, str]) -> None:
    if path[0] not in ("trainer", *names.GROUPS):
        return
    with suppress(UnclearError):
        scope = options_of(path[0], chosen)
        for depth, name in enumerate(path[1:], 1):
            if name in _OWN or path[:2] == ("model", "task"):
                return
            if name not in scope:
                below = f"--{'.'.join(path[:depth])}."
                raise UsageError(f"{where}: {wrong_option(below + name, list(scope), below)}")
            scope = fields(scope[name])


def _check_complete(command: str, option: str, chosen: Mapping[str, str], given: set[str]) -> None:
    if any(variable.startswith(f"VID_{command.upper()}__{option.upper()}__") for variable in os.environ):
        return
    with suppress(UnclearError):
        needed = [name for name, parameter in options_of(option, chosen).items() if parameter.required]
        missing = [f"--{option}.{name}" for name in needed if name not in given]
        if missing:
            plugin = chosen[option].removeprefix(f"{names.GROUPS[option]}.")
            raise UsageError(f"vid {command} --{option} {plugin} needs {' and '.join(missing)}")
