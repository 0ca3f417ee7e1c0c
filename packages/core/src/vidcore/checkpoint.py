"""What a checkpoint says about itself: enough to test and predict with nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from vidcore import plugins
from vidcore.errors import UserError
from vidcore.hparams import is_known, require_harmless
from vidcore.module import VideoModule
from vidcore.task import Task
from vidcore.weights import reason_of

_T = TypeVar("_T")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A Lightning checkpoint of a VideoModule, read without executing anything in it.

    Raises:
        UserError: No such file, not a checkpoint, not one of a VideoModule, or its hyperparameters name code to run
            (:func:`~vidcore.hparams.require_harmless`).
    """
    if not Path(path).is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for what is not its own
        raise UserError(f"{path} is no checkpoint that can be read safely: {reason_of(error)}") from error
    hparams = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, dict) else {}
    if "task" not in hparams or "_class_path" not in hparams:
        raise UserError(f"{path} is not a checkpoint of a vidcore model: it names no model and task")
    require_harmless(checkpoint, path)
    return checkpoint


def task_of(checkpoint: dict[str, Any]) -> Task:
    """The task that the checkpoint's model was built for."""
    return Task.of(checkpoint["hyper_parameters"]["task"])


def config_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The ``model`` and ``data`` parts of the config that a checkpoint comes from, less the task: data define it."""
    config = {}
    for key, source in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
        saved = checkpoint.get(source, {})
        if "_class_path" in saved:
            arguments = {name: value for name, value in saved.items() if name[0] != "_" and name != "task"}
            config[key] = {"class_path": saved["_class_path"], "init_args": arguments}
    return config


def require_trusted(config: Mapping[str, Any], chosen: Mapping[str, str], path: str | Path) -> None:
    """Refuses a config of a checkpoint that would have code imported which the user did not ask for.

    Args:
        config: From :func:`config_of`.
        chosen: The class paths that the user named, by part.
        path: The checkpoint, for the error.

    Raises:
        UserError: A class is neither a plugin, nor imported already, nor named by the user.
    """
    for part, content in config.items():
        class_path = content["class_path"]
        if not is_known(class_path) and chosen.get(part) != class_path:
            raise UserError(
                f"{path} was made with the {part} {class_path}, which is no plugin, "
                f"and a checkpoint may not import code: add --{part} {class_path} if you trust it"
            )


def class_in(path: str | Path, part: str, base: type[_T]) -> type[_T]:
    """The class that a checkpoint names, which must be a plugin or imported: a checkpoint cannot have code imported.

    Args:
        path: The checkpoint.
        part: ``hyper_parameters``, of the model, or ``datamodule_hyper_parameters``.
        base: What it must be a subclass of.

    Raises:
        UserError: See :func:`read_checkpoint`; or it names no such class.
    """
    class_path = str(read_checkpoint(path).get(part, {}).get("_class_path"))
    module, _, name = class_path.rpartition(".")
    cls = plugins.load(module, name) if module in plugins.GROUPS else getattr(sys.modules.get(module), name, None)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"{path} is of {class_path}, which is not an imported {base.__name__}: import its module first")
    return cls


def load_module(path: str | Path) -> VideoModule:
    """The model of a checkpoint, on the CPU and in eval mode.

    Raises:
        UserError: See :func:`class_in`.
    """
    return VideoModule.load_from_checkpoint(path, map_location="cpu").eval()
