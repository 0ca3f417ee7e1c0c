"""Hyperparameters as checkpoints hold them: plain types, and the class by its plugin name."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, is_dataclass
from pathlib import PurePath
from typing import Any

from vidcore.plugins import claims
from vidcore.task import Task


def make_plain(hparams: MutableMapping[str, Any], cls: type, group: str) -> None:
    """Reduces saved hyperparameters in place, so that they load with ``weights_only=True`` and through the base class.

    Args:
        hparams: What ``save_hyperparameters`` collected.
        cls: The class that they belong to.
        group: The entry-point group that it would be a plugin of.
    """
    for name, value in hparams.items():
        hparams[name] = _plain(value)
    hparams.setdefault("_class_path", class_path_of(cls, group))
    hparams.setdefault("_instantiator", "lightning.pytorch.cli.instantiate_module")


def class_path_of(cls: type, group: str) -> str:
    """The path under which a class is saved: its plugin alias where it is a plugin, or else where it is defined."""
    package = cls.__module__.partition(".")[0]
    for name, found in claims(group).items():
        if any(plugin.package == package and plugin.entry_point.attr == cls.__qualname__ for plugin in found):
            return f"{group}.{name}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _plain(value: Any) -> Any:
    if isinstance(value, Task):
        return value.as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value
