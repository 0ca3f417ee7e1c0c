"""Resuming a training: its position, the options that must stay the same, and the files that it may delete."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from vidcore.errors import UserError
from vidcore.training.optim import Stage


def position(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Return the epoch and the batch of that epoch with which the checkpoint's training continues.

    Raises:
        UserError: The checkpoint's ``loops`` are not as Lightning saves them.
    """
    try:
        loop = checkpoint["loops"]["fit_loop"]
        epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
        # If max_steps or max_time ended the epoch, its last batch is not marked as the last.
        ended = batches["is_last_batch"] or epochs["processed"] == epochs["ready"]
        return int(epochs["processed"]), 0 if ended else int(batches["current"]["ready"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError("loops must hold the progress of a training as Lightning saves it") from error


def recorded(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Return the options of each stage that a resumed training must keep, as a checkpoint saves them."""

    def of_turns(stage: Stage) -> dict[str, Any]:
        turns = [
            {
                "trains": list(turn.trains),
                "optimizer": turn.optim.name,
                "decay_all": turn.optim.decay_all,
                "factors": list(turn.optim.factors),
            }
            for turn in stage.parts
        ]
        return {key: [turn[key] for turn in turns] for key in turns[0]} if stage.turns else turns[0]

    return [{"name": stage.name, "epochs": stage.epochs, **of_turns(stage)} for stage in stages]


def resume(checkpoint: dict[str, Any], stages: Sequence[Mapping[str, Any]], epochs: int, trainer: Trainer) -> None:
    """Check that a training can be resumed, and choose the weights with which it continues.

    Args:
        checkpoint: The training's checkpoint. ``state_dict`` becomes the weights in training if it holds their moving
            average and the resumed training has none.
        stages: The stages that the training is resumed with, see ``recorded``.
        epochs: Number of epochs that the training has begun.
        trainer: The trainer of the resumed training.

    Raises:
        UserError: See ``check_resumed``.
    """
    try:
        check_resumed(checkpoint, stages, epochs, trainer.max_epochs, trainer.max_steps)
    except (KeyError, TypeError) as error:
        raise UserError("stages and global_step must be as a training saves them in its checkpoints") from error
    averaging = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    if "current_model_state" in checkpoint and not averaging:
        checkpoint["state_dict"] = checkpoint["current_model_state"]


def check_types(checkpoint: Mapping[str, Any], ours: Mapping[str, Tensor]) -> None:
    """Check that the tensors of ``checkpoint`` can be converted to the types of the model's state dict ``ours``.

    Raises:
        UserError: A tensor cannot be converted.
    """
    for name, value in checkpoint.get("state_dict", {}).items():
        if isinstance(value, Tensor) and name in ours and not torch.can_cast(value.dtype, ours[name].dtype):
            raise UserError(f"{name} is {value.dtype}, not {ours[name].dtype}")


def check_batches(before: float | None, now: float) -> None:
    """Check that an epoch that is resumed in the middle has as many batches as before; None: at its start.

    Raises:
        UserError: The number of batches differs.
    """
    if before not in (None, now):
        raise UserError(
            f"the checkpoint is from the middle of an epoch of {before} batches, which now has {now}: "
            "resume with the same data and batch size, or from the end of an epoch"
        )


def check_resumed(
    checkpoint: Mapping[str, Any],
    stages: Sequence[Mapping[str, Any]],
    epochs: int,
    max_epochs: int | None,
    max_steps: int,
) -> None:
    """Check that a training can be resumed with these stages and this length.

    Args:
        checkpoint: Of the training; ``stages`` are those that it has begun.
        stages: Those that it is resumed with, in the same form.
        epochs: Epochs that it has begun.
        max_epochs: Length in epochs, all together; -1 or None: no limit.
        max_steps: Length in optimiser steps, all together; -1: no limit.

    Raises:
        UserError: See above.
    """
    instead = "or begin a new training with --model.weights CHECKPOINT"
    if "optimizer_states" not in checkpoint:
        raise UserError(f"the checkpoint has weights alone: resume from one with the optimiser's state, {instead}")
    begun: Sequence[Mapping[str, Any]] = checkpoint.get("stages", ())
    done = epochs - sum(stage["epochs"] for stage in begun[:-1])
    for index, was in enumerate(begun):
        now, last = stages[index] if index < len(stages) else {"name": ""}, index == len(begun) - 1
        if now["name"] != was["name"]:
            ours, theirs = (f"stage {stage['name']}" if stage["name"] else "no such stage" for stage in (now, was))
            raise UserError(f"the checkpoint has {theirs} where this training has {ours}: keep its stages, {instead}")
        of_stage = f" of stage {was['name']}" if was["name"] else ""
        for key in ("trains", "optimizer", "decay_all", "factors"):
            if now[key] != was.get(key, now[key]):  # earlier versions did not save all of them
                raise UserError(
                    f"the checkpoint's optimiser does not fit: {key}{of_stage} was {was[key]!r}, now {now[key]!r}: "
                    f"keep it, {instead}"
                )
        if not last and now["epochs"] != was["epochs"]:
            raise UserError(
                f"the checkpoint has finished stage {was['name']} after {was['epochs']} epochs, it cannot have "
                f"{now['epochs']}: keep its length, {instead}"
            )
        if last and index < len(stages) - 1 and now["epochs"] < done:
            raise UserError(
                f"the checkpoint has begun {done} epochs of stage {was['name']}, it cannot have {now['epochs']}: "
                f"give it more, {instead}"
            )
    if max_epochs not in (None, -1) and epochs > max_epochs:
        raise UserError(
            f"the checkpoint has begun {epochs} epochs: max_epochs, of the whole training, must be at least that, "
            f"got {max_epochs}"
        )
    if max_steps != -1 and checkpoint["global_step"] > max_steps:
        raise UserError(
            f"the checkpoint has made {checkpoint['global_step']} steps: max_steps, of the whole training, must be at "
            f"least that, got {max_steps}"
        )


def forget_elsewhere(checkpoint: Mapping[str, Any], folders: set[str]) -> None:
    """Drop the earlier checkpoints that a checkpoint lists and that are in none of the run's folders.

    Lightning removes the files in the list when better ones come, wherever they are.
    """

    def here(path: str) -> str:
        return path if os.path.dirname(path) in folders and ".." not in Path(path).parts else ""  # noqa: PTH120 - URLs

    for state in checkpoint.get("callbacks", {}).values():
        if isinstance(state, dict) and "best_model_path" in state:
            for name in ("best_model_path", "last_model_path", "kth_best_model_path"):
                state[name] = here(str(state.get(name, "")))
            best = state.get("best_k_models", {})
            state["best_k_models"] = {path: score for path, score in best.items() if here(str(path))}
