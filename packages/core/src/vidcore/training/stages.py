"""Which stage a training is in, and what changes when the next one begins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from vidcore.training.optim import Stage, first_match


def stage_at(stages: Sequence[Stage], epoch: int) -> int:
    """Return the index of the stage that ``epoch`` belongs to; the last stage has no end."""
    ends = list(itertools.accumulate(stage.epochs for stage in stages))
    return sum(end <= epoch for end in ends[:-1])


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a parameter's name matches one of the patterns (``fnmatch``)."""
    return bool(first_match(name, patterns))


def freeze(module: nn.Module, trains: Iterable[str]) -> None:
    """Let the parameters whose names match the patterns require gradients, and no others."""
    patterns = tuple(trains)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(matches(name, patterns))


def eval_frozen(module: nn.Module) -> None:
    """Set the modules that have parameters, none of which trains, to eval mode: they keep their batch statistics."""
    for each in module.modules():
        owned = list(each.parameters())
        if owned and not any(parameter.requires_grad for parameter in owned):
            each.eval()


def steps_of(trainer: Trainer, stages: Sequence[Stage], index: int) -> tuple[int | None, int | None]:
    """Return the optimiser steps of a stage (None: it has no end) and of an epoch (None: epochs do not end it).

    Args:
        trainer: Fits the model.
        stages: The stages of the training; empty: one stage, the whole training.
        index: The stage's number.
    """
    if trainer.train_dataloader is None:
        trainer.fit_loop.setup_data()
    total = trainer.estimated_stepping_batches
    epoch = max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
    steps = None if total == math.inf else int(total)
    in_epochs = steps in (None, epoch * (trainer.max_epochs or 1))  # otherwise max_steps ends the training
    if stages:
        if index < len(stages) - 1:
            steps, in_epochs = stages[index].epochs * epoch, True
        elif steps is not None:
            steps -= sum(stage.epochs for stage in stages[:index]) * epoch
        steps = None if steps is None else max(1, steps)
    return steps, epoch if in_epochs else None


def turn_at(stages: Sequence[Stage], index: int, epoch: int, step: int) -> int:
    """Return the number of the turn of a stage.

    Args:
        stages: The stages of the training.
        index: The stage's number.
        epoch: Number of the epoch, from the start of training.
        step: Optimiser steps that the stage has made.
    """
    stage = stages[index]
    done = step // stage.turn_steps if stage.turn_steps else epoch - sum(each.epochs for each in stages[:index])
    return done % len(stage.parts)


def rewrap(trainer: Trainer, module: LightningModule) -> None:
    """Let DDP exchange the gradients of the parameters that train now; it keeps those of when it was set up."""
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy):
        strategy.model = module
        strategy.configure_ddp()
