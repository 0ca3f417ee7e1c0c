"""Options that do not exist, told before torch is imported.

What the source of the classes does not tell is left to jsonargparse, which judges everything once more.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any

from vidcore import plugins
from vidcore.cli import causes, configs, names
from vidcore.cli.signatures import Parameter, UnclearError, fields, parameters
from vidcore.errors import OptionError, UsageError

TOP_LEVEL = ("config", "print_config", "seed_everything", "trainer", "model", "data", "ckpt_path", "weights_only")
"""The first parts of all options there are; ``validate`` and ``test`` also have ``verbose``."""

IN_CONFIG = (*TOP_LEVEL[2:], "verbose")
"""The first parts of all keys of a config; a command passes over those of other commands."""

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
    _check_values(argv)
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


def _check_values(argv: Sequence[str]) -> None:
    groups = tuple(f"--{group}." for group in ("trainer", *names.GROUPS))
    for argument, following in pairwise([*argv, "--"]):
        needs = argument.startswith(groups) and "=" not in argument and not argument.endswith(".help")
        if needs and following.startswith("--"):
            raise UsageError(f"{argument} needs a value")


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
    for option in names.GROUPS:
        for value in filter(configs.is_inline, names.values(argv, (f"--{option}",))):
            yield from ((f"vid {command}", _path((option, *keys))) for keys in _keys(configs.read_config(value)))


def _of_config(source: str, chosen: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    given, lines = configs.read_config(source), configs.key_lines(source)
    configs.require_parts(given, source)
    config = names.expand_config(given)
    for option in names.GROUPS:
        part = config.get(option)
        if isinstance(part, Mapping) and part.get("class_path", chosen.get(option)) != chosen.get(option):
            del config[option]  # of a class that another source replaces
    for keys in _keys(config):
        where = configs.where(source, lines.get(tuple(keys)) or lines.get(tuple(keys[:-1])))
        if keys[0] not in IN_CONFIG:
            near = difflib.get_close_matches(keys[0], IN_CONFIG, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(IN_CONFIG)}"
            raise UsageError(f"{where}: no option {keys[0]}; {hint}")
        yield where, _path(keys)


def _keys(config: Mapping[str, Any]) -> Iterator[list[str]]:
    for key, value in config.items():
        yield [str(key)]
        if isinstance(value, Mapping):
            yield from ([str(key), *rest] for rest in _keys(value))


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


@contextmanager
def full_names(chosen: Mapping[str, str], argv: Sequence[str]) -> Iterator[None]:
    """Complete the option at the beginning of an ``OptionError``: ``dropout …`` to ``--model.dropout …``.

    Args:
        chosen: The class paths of model and data, so far as known.
        argv: The arguments; a value that is not among them may be the checkpoint's, which is then named too.

    Raises:
        UsageError: In place of the other.
    """
    try:
        yield
    except Exception as error:
        mistake = next((seen for seen in causes(error) if isinstance(seen, OptionError)), None)
        name = re.split(r"\W", str(mistake))[0]
        for option in chosen if mistake is not None else ():
            with suppress(UnclearError):
                if name in options_of(option, chosen):
                    given = f"--{option}.{str(mistake).split()[0]}"
                    checkpoint = next(names.values(argv, ("--ckpt_path",)), None)
                    elsewhere = checkpoint and not any(argument.startswith(given) for argument in argv)
                    source = f" (no argument: it is in {checkpoint} or in a config)" if elsewhere else ""
                    raise UsageError(f"--{option}.{mistake}{source}") from error
        raise


def _check_complete(command: str, option: str, chosen: Mapping[str, str], given: set[str]) -> None:
    given = given | {path[1] for _, path in names.variables(command) if path[0] == option and path[1:]}
    with suppress(UnclearError):
        needed = [name for name, parameter in options_of(option, chosen).items() if parameter.required]
        missing = [f"--{option}.{name}" for name in needed if name not in given]
        if missing:
            plugin = chosen[option].removeprefix(f"{names.GROUPS[option]}.")
            raise UsageError(f"vid {command} --{option} {plugin} needs {' and '.join(missing)}")
