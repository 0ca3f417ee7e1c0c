"""LightningCLI's parser, with short plugin names wherever a class path may stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from vidcore.cli import names


class VidParser(LightningArgumentParser):
    """Expands names in a copy of the arguments and in every config text; everything else is jsonargparse's."""

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Any:
        """See jsonargparse; ``args`` are left as they are."""
        return super().parse_args(None if args is None else names.expand_arguments(args), *rest, **kwargs)

    def parse_string(self, cfg_str: str, *rest: Any, **kwargs: Any) -> Any:
        """See jsonargparse; config files pass through here as well."""
        config = yaml.safe_load(cfg_str)
        expanded = names.expand_config(config)
        return super().parse_string(cfg_str if expanded == config else yaml.safe_dump(expanded), *rest, **kwargs)
