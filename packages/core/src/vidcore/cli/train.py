"""``vid fit``, ``validate`` and ``test``: LightningCLI over any model and any data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidcore.cli import UsageError, names

TOP_LEVEL = (
    "config",
    "print_config",
    "seed_everything",
    "trainer",
    "model",
    "data",
    "ckpt_path",
    "verbose",
    "weights_only",
)
"""The first parts of all options there are."""


def main(command: str, argv: list[str]) -> None:
    """Checks what can be checked without torch, then runs Lightning."""
    helps = any(argument.partition("=")[0] in ("-h", "--help", "--model.help", "--data.help") for argument in argv)
    for argument in argv:
        key = argument.partition("=")[0]
        if key.startswith("--") and key[2:].partition(".")[0].rstrip("+") not in (*TOP_LEVEL, "help"):
            raise UsageError(f"no option {key}; options begin with {', '.join('--' + name for name in TOP_LEVEL)}")
    names.expand_environment(command)
    chosen = names.chosen(command, argv)
    checkpoint = next(names.values(argv, ("--ckpt_path",)), None)
    if checkpoint in ("best", "last"):
        checkpoint = None
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise UsageError(f"no checkpoint at {checkpoint}")
    for option in names.GROUPS:
        if option not in chosen and checkpoint is None and not helps:
            raise UsageError(f"vid {command} needs --{option} NAME; installed: {names.installed(option)}")
    from vidcore.cli import lightning

    if checkpoint is not None:
        config = lightning.checkpoint_config(checkpoint, keep_data="data" not in chosen)
        chosen = {option: part["class_path"] for option, part in config.items()} | chosen
        argv = ["--config", json.dumps(config), *argv]
        for option in names.GROUPS:
            if option not in chosen:
                raise UsageError(f"{checkpoint} does not say which {option} to use: add --{option} NAME")
    lightning.run(command, argv, chosen)


def installed_as(class_path: str) -> str:
    """How a run calls a class: its plugin name, or the last part of its path."""
    return class_path.rpartition(".")[2].lower()


def trainer_defaults(chosen: dict[str, str]) -> dict[str, Any]:
    """What the trainer does unless told otherwise: log to ``runs/MODEL_DATA/version_N``."""
    name = "_".join(installed_as(chosen[option]) for option in names.GROUPS if option in chosen) or "run"
    logger = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "runs", "name": name}}
    # Lightning's summary counts FLOPs in its own way and shows 0 for most models; the model says its own.
    return {"logger": logger, "max_epochs": 30, "enable_model_summary": False, "log_every_n_steps": 10}
