"""What a checkpoint says about itself: enough to test and predict with nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from packaging.version import Version

from vidcore import plugins
from vidcore.errors import UserError, naming
from vidcore.hparams import is_known, require_harmless
from vidcore.task import Task
from vidcore.weights import load_safely, not_plain

_T = TypeVar("_T")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A Lightning checkpoint of a VideoModule, read without executing anything in it.

    Raises:
        UserError: No such file, not a checkpoint, not one of a VideoModule, or its hyperparameters name code to run
            (``vidcore.hparams.require_harmless``).
    """
    checkpoint = load_safely(path, "checkpoint")
    hparams = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if not isinstance(hparams, Mapping) or not {"task", "_class_path"} <= hparams.keys():
        raise UserError(f"{path} is not a checkpoint of a vidcore model: it names no model and task")
    with naming(path):
        require_harmless(checkpoint, path)
        _check(checkpoint)
    return checkpoint


_TYPES: dict[str, type] = {
    "pytorch-lightning_version": str,
    "state_dict": Mapping,
    "datamodule_hyper_parameters": Mapping,
    "loops": Mapping,
    "callbacks": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
    "epoch": int,
    "global_step": int,
    "stage": int,
    "seed": int,
}
"""Types of a checkpoint's entries."""

_REQUIRED = ("pytorch-lightning_version", "state_dict")


def _check(checkpoint: Mapping[str, Any]) -> None:
    """Check the types of what a checkpoint holds.

    Raises:
        UserError: An entry is missing or of another type, or a weight is not a tensor with its numbers.
        ValueError: The task or the version is not one.
    """
    for name, kind in _TYPES.items():
        if name in checkpoint and not isinstance(checkpoint[name], kind):
            raise UserError(f"{name} must be of type {kind.__name__}, not {type(checkpoint[name]).__name__}")
        if name in _REQUIRED and name not in checkpoint:
            raise UserError(f"{name} is missing")
    Version(checkpoint["pytorch-lightning_version"])
    for name in ("hyper_parameters", "datamodule_hyper_parameters"):
        saved = checkpoint.get(name, {})
        if not all(isinstance(key, str) and key.isidentifier() for key in saved):
            raise UserError(f"the names in {name} must be names of arguments")
        class_path = saved.get("_class_path", "a.b")
        if not isinstance(class_path, str) or not all(map(str.isidentifier, class_path.split("."))):
            raise UserError(f"_class_path in {name} must be the path of a class, not {class_path!r}")
    Task.of(checkpoint["hyper_parameters"]["task"])
    for name, value in checkpoint["state_dict"].items():
        problem = "" if str(name).endswith("_extra_state") else not_plain(value)
        if problem or not isinstance(name, str):
            raise UserError(f"state_dict must map names to tensors: {name} is {problem or 'no text'}")


def task_of(checkpoint: dict[str, Any]) -> Task:
    """The task that the checkpoint's model was built for."""
    return Task.of(checkpoint["hyper_parameters"]["task"])


def config_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The ``model`` and ``data`` parts of the config that a checkpoint comes from, less the task: data define it."""
    config = {}
    for key, source in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
        saved = checkpoint.get(source, {})
        if "_class_path" in saved:
            arguments = {name: value for name, value in saved.items() if not name.startswith("_") and name != "task"}
            config[key] = {"class_path": saved["_class_path"], "init_args": arguments}
    return config


def require_trusted(config: Mapping[str, Any], chosen: Mapping[str, str], path: str | Path) -> None:
    """Refuses a config of a checkpoint that would have code imported which the user did not ask for.

    Args:
        config: From [`config_of`][vidcore.weights.checkpoint.config_of].
        chosen: The class paths that the user named, by part.
        path: The checkpoint, for the error.

    Raises:
        UserError: A class is neither a plugin, nor imported already, nor named by the user.
    """
    for part, content in config.items():
        class_path = content["class_path"]
        module, _, name = class_path.rpartition(".")
        if module in plugins.GROUPS:
            with naming(path):
                plugins.find(module, name)
        if not is_known(class_path) and chosen.get(part) != class_path:
            raise UserError(
                f"{path} was made with the {part} {class_path}, which is no plugin, "
                f"and a checkpoint may not import code: add --{part} {class_path} if you trust it"
            )


def class_in(checkpoint: Mapping[str, Any], path: str | Path, part: str, base: type[_T]) -> type[_T]:
    """The class that a checkpoint names, which must be a plugin or imported: a checkpoint cannot have code imported.

    Args:
        checkpoint: From ``read_checkpoint``.
        path: Its file, for errors.
        part: ``hyper_parameters``, of the model, or ``datamodule_hyper_parameters``.
        base: What it must be a subclass of.

    Raises:
        UserError: It names no such class.
    """
    class_path = str(checkpoint.get(part, {}).get("_class_path"))
    module, _, name = class_path.rpartition(".")
    with naming(path):
        cls = plugins.load(module, name) if module in plugins.GROUPS else getattr(sys.modules.get(module), name, None)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"{path} is of {class_path}, which is not an imported {base.__name__}: import its module first")
    return cls
