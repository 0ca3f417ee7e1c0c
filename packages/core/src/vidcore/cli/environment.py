"""Environment variables of ``vid``.

They are ``VID_PLUGINS``, those of ``vidcore.video.limits``, and ``VID_COMMAND__OPTION`` of ``fit``, ``validate`` and
``test``.

Imports no torch.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from vidcore.cli import configs, names, options
from vidcore.cli.signatures import Parameter, UnclearError, fields
from vidcore.errors import UsageError

COMMANDS = ("fit", "validate", "test")
"""Commands whose options can come from the environment."""

_OTHERS = (
    *("VID_PLUGINS", "VID_MAX_PIXELS", "VID_MAX_CLIP_PIXELS", "VID_MAX_FRAMES", "VID_MAX_STATE_BYTES"),
    "VID_MAX_UNPACKED_BYTES",
)
"""Variables of every command: the plugins, and the limits of ``vidcore.video.limits``, which imports torch."""


def unused() -> list[str]:
    """One warning for each ``VID_…`` variable that no command reads."""
    prefixes = tuple(f"VID_{command.upper()}__" for command in COMMANDS)
    found = (name for name in sorted(os.environ) if name.startswith("VID_") and name not in _OTHERS)
    return [_unused(name) for name in found if not name.startswith(prefixes)]


def _unused(name: str) -> str:
    near = difflib.get_close_matches(name, _OTHERS, n=1, cutoff=0.8)
    for command in COMMANDS:
        begin = f"VID_{command.upper()}_"
        if name.startswith(begin):  # one underscore where two belong
            near = [f"{begin}_{name.removeprefix(begin)}"]
    hint = f"did you mean {near[0]}?" if near else "used are VID_PLUGINS and, e.g., VID_FIT__TRAINER__MAX_EPOCHS"
    return f"environment variable {name} is not used; {hint}"


def check(command: str, chosen: Mapping[str, str]) -> None:
    """Refuse variables of a command that name no option of it.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        chosen: The class paths of model and data, so far as known.

    Raises:
        UsageError: Names the nearest variable.
    """
    top_level = [option.removeprefix("--") for option in options.top_level(command) if option != "--print_config"]
    for name, path in names.variables(command):
        known, scope = top_level, dict[str, Parameter]()
        with suppress(UnclearError):
            for depth, part in enumerate(path):
                inner = part in ("trainer", *names.GROUPS) if depth == 0 else path[0] != "trainer"
                if part not in known or (path[depth + 1 :] and not inner):
                    _refuse(command, name, path[:depth], known)
                if path[depth + 1 :]:
                    scope = fields(scope[part]) if depth else options.options_of(part, chosen)
                    known = list(scope)


def config(command: str, chosen: Mapping[str, str], weaker: Collection[str] = ()) -> list[str]:
    """The options of model and data in the environment, such as ``VID_FIT__MODEL__VARIANT``, as ``--config``.

    jsonargparse itself reads only ``VID_FIT__MODEL`` as a whole.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        chosen: The class paths of model and data.
        weaker: Parts that a checkpoint brings as a whole: ``model``, ``data``.
    """
    found: dict[str, Any] = {}
    for name, path in names.variables(command):
        if path[0] in names.GROUPS and path[1:] and path[0] in chosen and path[0] not in weaker:
            part = found.setdefault(path[0], {"class_path": chosen[path[0]], "init_args": {}})
            scope = part["init_args"]
            for key in path[1:-1]:
                scope = scope.setdefault(key, {})
            scope[path[-1]] = os.environ[name]
    return ["--config", configs.as_text(found)] if found else []


def _refuse(command: str, name: str, above: tuple[str, ...], known: list[str]) -> None:
    variables = ["__".join((f"VID_{command.upper()}", *above, option)).upper() for option in known]
    near = difflib.get_close_matches(name.replace("__INIT_ARGS", ""), variables, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(variables)}"
    raise UsageError(f"environment variable {name} names no option of vid {command}; {hint}")
