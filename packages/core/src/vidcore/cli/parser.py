"""LightningCLI's parser, with short plugin names wherever a class path may stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from vidcore.cli import configs, names
from vidcore.errors import UsageError, reasons
from vidcore.text import is_utf8


class VidParser(LightningArgumentParser):
    """Expands names in a copy of the arguments and in every config text; everything else is jsonargparse's.

    Options cannot be abbreviated: a new option would change what an abbreviation means.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """See jsonargparse; ``args`` are left as they are."""
        odd = [argument for argument in args or () if not is_utf8(argument)]
        if odd:
            raise UsageError(
                f"{odd[0]!r} is not UTF-8, as options must be: name a link to it (ln -s), or run vid in that folder "
                "and name it ."
            )
        return super().parse_args(None if args is None else names.expand_arguments(args), *rest, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # type: ignore[override]
        """Ends with the message alone: the usage of a whole trainer would push it off the screen."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise UsageError(shortened(message)) from ex

    def parse_string(self, *args: Any, **kwargs: Any) -> Any:
        """See jsonargparse; config files pass through here as well."""
        # The text is called cfg_str before jsonargparse 4.50 and content after.
        kwargs = {key: _expanded(value) if key in ("content", "cfg_str") else value for key, value in kwargs.items()}
        return super().parse_string(*map(_expanded, args[:1]), *args[1:], **kwargs)


def _expanded(text: str) -> str:
    config = configs.parsed(text, "the config")[0]
    expanded = names.expand_config(config)
    return text if expanded == config else yaml.safe_dump(expanded)


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list", "dict": "a mapping"}

_GIVEN = 100
"""Characters of a value that an error repeats."""


def shortened(message: str) -> str:
    """What jsonargparse says of a value, less its account of all the types that it tried."""
    found = reasons(message)
    keys = re.findall(r'Parser key "([^"]+)"', message)
    if not keys or not found:
        return message
    group = keys[0].partition(".")[0]
    hint = f"; --{group}.help NAME lists the options" if group in names.GROUPS else ""
    given = re.search(r"Given value: (?:NestedArg\(key='(.*?)', val=(.*)\)|(.*))", message)
    nested, value, plain = given.groups() if given else (None, None, None)
    if nested and nested != keys[-1] and "not accepted" not in message:
        keys.append(nested)
    value = str(next(iter(re.findall(r"Got value: (.*)", message)), value or plain))
    if len(value) > _GIVEN:
        value = f"{value[:_GIVEN]}…"
    option = f"--{'.'.join(keys)}"
    if kinds := _kinds(found):
        return f"{option} must be {kinds}, got {value}{hint}"
    others = [reason for reason in found if not _EXPECTED.match(reason)] or found
    text = "; ".join(dict.fromkeys(others)).replace("Expected a dot import path string:", "not a class path:")
    return f"{option}: {text} (given {value}){hint}"


_EXPECTED = re.compile(
    r"Expected a (?:<class '(?:collections\.abc\.)?(?P<kind>\w+)'>|typing\.Literal\[(?P<choices>.*?)\])(?:\.|$)"
)


def _kinds(found: Sequence[str]) -> str:
    """What a value may be, in words; empty where a reason is something else."""
    kinds: list[str] = []
    choices: list[str] = []
    for reason in found:
        expected = _EXPECTED.match(reason)
        if expected and expected["choices"]:
            choices += [choice.strip("'\"") for choice in expected["choices"].split(", ")]
        elif expected and expected["kind"] in _KINDS:
            kinds.append(_KINDS[expected["kind"]])
        elif not (expected and expected["kind"] == "Iterable") and "Expected a dot import path string" not in reason:
            return ""
    if choices:  # a number that is among them is no further kind
        kinds = [*(kind for kind in kinds if "number" not in kind), f"one of {', '.join(dict.fromkeys(choices))}"]
    return " or ".join(dict.fromkeys(kinds))
