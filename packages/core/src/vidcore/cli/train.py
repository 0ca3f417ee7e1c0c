"""``vid fit``, ``validate`` and ``test``: LightningCLI over any model and any data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcore.cli import DONE, FAILED, configs, environment, names, options, runs
from vidcore.errors import UsageError, naming

if TYPE_CHECKING:
    from vidcore.cli.lightning import VidCLI


def main(command: str, argv: list[str], whole: bool = True) -> int:
    """Run ``vid fit``, ``validate`` or ``test``; see ``run`` for the arguments.

    Returns:
        The exit status: 1 if a sample to evaluate could not be read.
    """
    done = run(command, argv, whole)
    return FAILED if command != "fit" and done.datamodule.unreadable else DONE


def run(command: str, argv: list[str], whole: bool = True, quiet: bool = False) -> VidCLI:
    """Check the arguments without importing torch, then run Lightning.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        argv: Its arguments.
        whole: Whether data that a checkpoint was not trained on are evaluated whole if they have no splits.
        quiet: Whether nothing is printed beyond what Lightning prints.

    Returns:
        The finished run: ``folder``, ``trainer``, ``model`` and ``datamodule``.

    Raises:
        UserError: An argument, a file or the data is wrong, or the training diverged.
    """
    helps = any(argument.partition("=")[0] in ("-h", "--help", "--model.help", "--data.help") for argument in argv)
    names.expand_environment(command)
    chosen = names.chosen(command, argv)
    environment.check(command, chosen)
    options.check(command, argv, chosen)
    checkpoint = next(names.values(argv, ("--ckpt_path",)), None)
    for option in names.GROUPS:
        if option not in chosen and checkpoint in (None, *runs.NAMED) and not helps:
            raise UsageError(f"vid {command} needs --{option} NAME; installed: {names.installed(option)}")
    named = checkpoint in runs.NAMED and not helps
    if checkpoint is not None and named:
        checkpoint = str(runs.newest(checkpoint, argv, chosen))
        argv = [*argv, "--ckpt_path", checkpoint]
    if checkpoint is not None and not Path(checkpoint).is_file() and not helps:
        raise UsageError(f"no checkpoint at {checkpoint}")
    continued = runs.continued(Path(checkpoint), chosen) if command == "fit" and checkpoint else None
    if command == "fit" and not helps:
        argv = [*one_length(argv), *argv]
    saved: dict[str, Any] = {}
    from vidcore.cli import lightning
    from vidcore.weights.checkpoint import require_trusted

    if continued is not None:
        config = str(continued / "config.yaml")
        chosen = names.chosen(command, ["--config", config])
        argv = ["--config", config, *argv]
    elif checkpoint is not None:
        parts = lightning.checkpoint_config(checkpoint, keep_data=named or "data" not in chosen)
        require_trusted(parts, chosen, checkpoint)
        saved = parts.get("data", {}).get("init_args", {})
        chosen = {option: part["class_path"] for option, part in parts.items()} | chosen
        with naming(checkpoint, "{} holds arguments that are no plain values"):
            argv = ["--config", configs.as_text(parts), *environment.config(command, chosen, set(parts)), *argv]
        for option in names.GROUPS:
            if option not in chosen:
                raise UsageError(f"{checkpoint} does not say which {option} to use: add --{option} NAME")
    else:
        argv = [*environment.config(command, chosen), *argv]
    evaluated = checkpoint if command != "fit" else None
    return lightning.run(command, argv, chosen, continued, evaluated, whole, saved, quiet)


def one_length(argv: list[str]) -> list[str]:
    """Arguments of ``vid fit`` that lift the limit on epochs where a number of steps is given alone, and the reverse.

    What is given on the command line, in its config files or in the environment replaces the length that a recipe, the
    defaults or the run that is continued have in the other unit. Of two that are given the first one that is reached
    ends the training.
    """
    lengths = {
        name: runs.given(argv, name) or os.environ.get(f"VID_FIT__TRAINER__{name.upper()}")
        for name in ("max_epochs", "max_steps")
    }
    limited = any(value not in (None, "-1") for value in lengths.values())
    return [f"--trainer.{name}=-1" for name, value in lengths.items() if limited and value is None]


def trainer_defaults(chosen: dict[str, str]) -> dict[str, Any]:
    """What the trainer does unless told otherwise: log to ``runs/MODEL_DATA/version_N``."""
    arguments = {"save_dir": runs.ROOT, "name": runs.pair(chosen)}
    logger = {"class_path": names.logger("csv"), "init_args": arguments}
    # Lightning's summary counts FLOPs in its own way and shows 0 for most models; the model says its own.
    return {"logger": logger, "max_epochs": 30, "enable_model_summary": False, "log_every_n_steps": 10}
