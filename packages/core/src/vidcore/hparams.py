"""Hyperparameters as checkpoints hold them: plain types, and the class by its plugin name."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import PurePath
from typing import Any

from lightning.pytorch.core.mixins.hparams_mixin import HyperparametersMixin

from vidcore.errors import UserError
from vidcore.plugins import GROUPS, claims
from vidcore.redaction import redacted
from vidcore.task import Task

INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"
"""The only function that a checkpoint may name for Lightning to call."""

_UNKNOWN = ("hparams", "module_arguments", "hparams_type")
"""Keys that Lightning still reads from old checkpoints, and that those of a VideoModule never have."""


def make_plain(module: HyperparametersMixin, group: str) -> None:
    """Reduces saved hyperparameters in place, so that they load with ``weights_only=True`` and through the base class.

    Passwords and tokens of URLs are left out.

    Args:
        module: Of a model or data, which has called ``save_hyperparameters``.
        group: The entry-point group that its class would be a plugin of.
    """
    hparams = module.hparams
    for saved in (hparams, vars(module)["_hparams_initial"]):  # loggers get the second
        for name, value in saved.items():
            saved[name] = _plain(value)
    hparams.setdefault("_class_path", class_path_of(type(module), group))
    hparams.setdefault("_instantiator", INSTANTIATOR)


def require_harmless(checkpoint: Mapping[str, Any], path: object) -> None:
    """Refuse a checkpoint whose hyperparameters name code to call or to import, before Lightning gets it.

    The class of the model or data itself is not checked here, since the user may have named it.

    Args:
        checkpoint: Its content.
        path: Its file, for the error.

    Raises:
        UserError: It has such a key; the text names the key and its value.
    """
    for key in _UNKNOWN:
        if key in checkpoint:
            raise UserError(f"cannot load {path}: it has the key {key!r}, which no checkpoint of vidcore has")
    for part in ("hyper_parameters", "datamodule_hyper_parameters"):
        hparams = checkpoint.get(part)
        if not isinstance(hparams, Mapping):
            continue
        found = hparams.get("_instantiator", INSTANTIATOR)
        if found != INSTANTIATOR:
            raise UserError(
                f"cannot load {path}: {part}._instantiator is {found!r}, and a checkpoint must not name code to run; "
                f"only {INSTANTIATOR!r} is accepted"
            )
        for key, class_path in _class_paths(hparams, part):
            if not is_known(class_path):
                raise UserError(
                    f"cannot load {path}: {key} is {class_path!r}, which is neither a plugin nor imported, and a "
                    "checkpoint must not have code imported: import its module first if you trust it"
                )


def is_known(class_path: object) -> bool:
    """Whether a class path leads to a plugin or into a module that is imported already."""
    module = class_path.rpartition(".")[0] if isinstance(class_path, str) else ""
    return module in GROUPS or module in sys.modules


def _class_paths(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """All values of keys ``class_path`` at any depth, with their keys in full."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name == "class_path":
                yield f"{key}.{name}", item
            yield from _class_paths(item, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _class_paths(item, f"{key}.{index}")


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
    return redacted(str(value)) if isinstance(value, (str, PurePath)) else value
