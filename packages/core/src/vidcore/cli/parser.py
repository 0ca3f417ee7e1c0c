"""LightningCLI's parser, with short plugin names wherever a class path may stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from vidcore.cli import UsageError, names


class VidParser(LightningArgumentParser):
    """Expands names in a copy of the arguments and in every config text; everything else is jsonargparse's."""

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Any:
        """See jsonargparse; ``args`` are left as they are."""
        return super().parse_args(None if args is None else names.expand_arguments(args), *rest, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # type: ignore[override]
        """Ends with the message alone: the usage of a whole trainer would push it off the screen."""
        if not self.exit_on_error:
            super().error(message, ex)
        unknown = re.search(r'Parser key "(\w+)".*Option \'([^\']+)\' is not accepted', message, re.DOTALL)
        if unknown:
            group, option = unknown.groups()
            message = f"the chosen {group} has no option {option}; --{group}.help NAME lists those it has"
        raise UsageError(message) from ex

    def parse_string(self, *args: Any, **kwargs: Any) -> Any:
        """See jsonargparse; config files pass through here as well."""
        # The text is called cfg_str before jsonargparse 4.50 and content after.
        kwargs = {key: _expanded(value) if key in ("content", "cfg_str") else value for key, value in kwargs.items()}
        return super().parse_string(*map(_expanded, args[:1]), *args[1:], **kwargs)


def _expanded(text: str) -> str:
    config = yaml.safe_load(text)
    expanded = names.expand_config(config)
    return text if expanded == config else yaml.safe_dump(expanded)
