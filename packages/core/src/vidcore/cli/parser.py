"""LightningCLI's parser, with short plugin names wherever a class path may stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from vidcore.cli import UsageError, names
from vidcore.errors import reasons
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
    config = yaml.safe_load(text)
    expanded = names.expand_config(config)
    return text if expanded == config else yaml.safe_dump(expanded)


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
    return f"--{'.'.join(keys)}: {'; '.join(dict.fromkeys(found))} (given {value or plain}){hint}"
