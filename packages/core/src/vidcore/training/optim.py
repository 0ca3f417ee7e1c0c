"""Optimisers and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vidcore.ranges import check_choice, check_ranges
from vidcore.training.rmsprop import RMSpropTF


@dataclass(frozen=True)
class Optim:
    """An optimiser and its schedule.

    Args:
        name: ``adamw``, ``sgd``, ``rmsprop`` or ``rmsprop_tf`` (TensorFlow's RMSprop, with its defaults).
        lr: Peak learning rate.
        weight_decay: On weights of two or more dimensions.
        decay_all: Decay biases, norms and scalars as well.
        momentum: Of ``sgd`` and both ``rmsprop``.
        nesterov: Whether the momentum of ``sgd`` looks ahead.
        schedule: After the warm-up, ``cosine`` to zero at the last step, or ``constant``. A training without a last
            step (``max_epochs`` -1 without ``max_steps``) has ``constant``.
        warmup: Share of all steps, in [0, 1), over which the rate rises linearly from near zero; in a training without
            a last step, share of the first epoch's steps.
        ema: Decay of an exponential moving average of the weights, which is then what is evaluated and saved; 0: none.

    Raises:
        OptionError: A value outside its range or its choices.
    """

    name: Literal["adamw", "sgd", "rmsprop", "rmsprop_tf"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    decay_all: bool = False
    momentum: float = 0.9
    nesterov: bool = True
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.1
    ema: float = 0.0

    def __post_init__(self) -> None:
        check_choice("optim.name", self.name, ("adamw", "sgd", "rmsprop", "rmsprop_tf"))
        check_choice("optim.schedule", self.schedule, ("cosine", "constant"))
        ranges = {"lr": "[0, inf)", "weight_decay": "[0, inf)"}
        ranges |= dict.fromkeys(("momentum", "warmup", "ema"), "[0, 1)")
        check_ranges(vars(self), ranges, "optim.")

    @classmethod
    def of(cls, value: Optim | Mapping[str, Any]) -> Optim:
        """The record itself, or the one that a checkpoint holds as a mapping."""
        return value if isinstance(value, Optim) else cls(**value)

    def build(
        self, parameters: Iterable[nn.Parameter], total_steps: int | None, epoch_steps: int | None = None
    ) -> tuple[Optimizer, Schedule]:
        """Build the optimiser over the trainable parameters, and its schedule.

        Args:
            parameters: Those that do not require gradients are passed over.
            total_steps: Length of the schedule in optimiser steps; None: the training has no last step.
            epoch_steps: Optimiser steps of one epoch, see :class:`Schedule`.
        """
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        decayed = [parameter for parameter in trainable if parameter.dim() > 1 or self.decay_all]
        others = [parameter for parameter in trainable if parameter.dim() <= 1 and not self.decay_all]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer: Optimizer
        if self.name == "adamw":
            optimizer = torch.optim.AdamW(groups, lr=self.lr)
        elif self.name == "sgd":
            looks_ahead = self.nesterov and self.momentum > 0
            optimizer = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=looks_ahead)
        elif self.name == "rmsprop_tf":
            optimizer = RMSpropTF(groups, lr=self.lr, momentum=self.momentum)
        else:
            optimizer = torch.optim.RMSprop(groups, lr=self.lr, momentum=self.momentum)
        warmup = int(self.warmup * (total_steps or epoch_steps or 0))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            if self.schedule == "constant" or total_steps is None:
                return 1.0
            return (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total_steps - warmup)))) / 2

        return optimizer, Schedule(optimizer, factor, epoch_steps)


class Schedule(LambdaLR):
    """Learning rates as a function of the step, of which a checkpoint restores the position alone.

    Loaded after its optimiser's state, it gives all options of the parameter groups (rates, weight decay, momentum) the
    values that they were built with, and the rates those of the restored step: a training that is resumed with other
    options or another length follows what it was resumed with, from its first step on.

    Args:
        optimizer: Just built.
        factor: From the step, counted from 0, to the share of each group's rate.
        epoch_steps: Optimiser steps of one epoch. A position in epochs of another length is converted; None: it is kept
            in steps.
    """

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float], epoch_steps: int | None = None) -> None:
        self.epoch_steps = epoch_steps
        super().__init__(optimizer, factor)
        self._options = [{k: value for k, value in group.items() if k != "params"} for group in optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the position as ``last_epoch``, in steps, and ``epoch_steps``."""
        return {"last_epoch": self.last_epoch, "epoch_steps": self.epoch_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Return to a position, and restore the options of the optimiser's parameter groups."""
        steps, before = state_dict["last_epoch"], state_dict.get("epoch_steps")
        if before and self.epoch_steps:
            steps = round(steps * self.epoch_steps / before)
        self.last_epoch, self._step_count = steps, steps + 1
        rates = [rate * factor(steps) for rate, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]
        for group, options, rate in zip(self.optimizer.param_groups, self._options, rates, strict=True):
            group.update(options, lr=rate)
        self._last_lr = rates


@dataclass(frozen=True)
class Stage:
    """One stage of a training in several: what trains, for how long, and how.

    Args:
        name: Shown when the stage begins.
        epochs: Its length; the last stage goes on to the end of training.
        optim: Its optimiser, made afresh when the stage begins.
        trains: Patterns (``fnmatch``) of the names of the parameters that train; all others are frozen, and modules of
            which nothing trains keep their batch statistics.
    """

    name: str
    epochs: int
    optim: Optim
    trains: tuple[str, ...] = ("*",)
