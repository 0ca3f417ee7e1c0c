"""Optimisers and learning rate schedules."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vidcore.errors import UserError
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
        factors: Learning-rate factors by pattern (``fnmatch``) of parameter names, e.g. ``{"net.head.*": 10.0}``. The
            first pattern that matches a parameter counts. Default: 1 for all parameters.
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
    factors: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("optim.name", self.name, ("adamw", "sgd", "rmsprop", "rmsprop_tf"))
        check_choice("optim.schedule", self.schedule, ("cosine", "constant"))
        ranges = {"lr": "[0, inf)", "weight_decay": "[0, inf)"}
        ranges |= dict.fromkeys(("momentum", "warmup", "ema"), "[0, 1)")
        check_ranges(vars(self), ranges, "optim.")
        check_ranges(self.factors, dict.fromkeys(self.factors, "[0, inf)"), "optim.factors.")

    @classmethod
    def of(cls, value: Optim | Mapping[str, Any]) -> Optim:
        """The record itself, or the one that a checkpoint holds as a mapping."""
        return value if isinstance(value, Optim) else cls(**value)

    def build(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]],
        total_steps: int | None,
        epoch_steps: int | None = None,
    ) -> tuple[Optimizer, Schedule]:
        """Build the optimiser over the trainable parameters, and its schedule.

        Args:
            parameters: Parameters, or their names with them, which ``factors`` need; those that do not require
                gradients are left out.
            total_steps: Length of the schedule in optimiser steps; None: the training has no last step.
            epoch_steps: Optimiser steps of one epoch, see [`Schedule`][vidcore.training.optim.Schedule].

        Raises:
            UserError: A pattern of ``factors`` matches no parameter.
        """
        optimizer = self.optimizer(parameters)
        return optimizer, Schedule(optimizer, self.curve(total_steps, epoch_steps), epoch_steps)

    def optimizer(self, parameters: Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]]) -> Optimizer:
        """Build the optimiser alone, see [`build`][vidcore.training.optim.Optim.build]."""
        named = [each if isinstance(each, tuple) else ("", each) for each in parameters]
        parts: dict[str, list[nn.Parameter]] = {} if self.factors else {"": []}
        matched = set()
        for name, parameter in named:
            part = first_match(name, self.factors)
            matched.add(part)
            if parameter.requires_grad:
                parts.setdefault(part, []).append(parameter)
        if unmatched := self.factors.keys() - matched:
            raise UserError(
                f"optim.factors: {', '.join(sorted(unmatched))} matches no parameter, or only those of earlier patterns"
            )
        groups = []
        for decays in (True, False):
            for part, members in parts.items():
                chosen = [parameter for parameter in members if (parameter.dim() > 1 or self.decay_all) == decays]
                options = {"lr": self.lr * self.factors.get(part, 1.0)} if self.factors else {}
                if chosen or not self.factors:
                    groups.append({"params": chosen, "weight_decay": self.weight_decay if decays else 0.0, **options})
        if self.name == "adamw":
            return torch.optim.AdamW(groups, lr=self.lr)
        if self.name == "sgd":
            looks_ahead = self.nesterov and self.momentum > 0
            return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=looks_ahead)
        if self.name == "rmsprop_tf":
            return RMSpropTF(groups, lr=self.lr, momentum=self.momentum)
        return torch.optim.RMSprop(groups, lr=self.lr, momentum=self.momentum)

    def curve(self, total_steps: int | None, epoch_steps: int | None = None) -> Callable[[int], float]:
        """Return the schedule as a function from the step to the share of the peak rate, see ``build``."""
        warmup = int(self.warmup * (total_steps or epoch_steps or 0))

        def share(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            if self.schedule == "constant" or total_steps is None:
                return 1.0
            return (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total_steps - warmup)))) / 2

        return share


def first_match(name: str, patterns: Iterable[str]) -> str:
    """Return the first pattern (``fnmatch``) that matches a parameter's name, or an empty string."""
    return next((pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)), "")


class Schedule(LambdaLR):
    """Learning rates as a function of the step, of which a checkpoint restores the position alone.

    Loaded after its optimiser's state, it gives all options of the parameter groups (rates, weight decay, momentum) the
    values that they were built with, and the rates those of the restored step: a training that is resumed with other
    options or another length follows what it was resumed with, from its first step on.

    Args:
        optimizer: Just built.
        factor: From the step, counted from 0, to the share of each group's rate; or one per group.
        epoch_steps: Optimiser steps of one epoch. A position in epochs of another length is converted; None: it is kept
            in steps.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: Callable[[int], float] | list[Callable[[int], float]],
        epoch_steps: int | None = None,
    ) -> None:
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


class JointOptimizer(Optimizer):
    """Several optimisers in one: a step is a step of each.

    None of them changes a parameter without gradient, nor its state: while the parameters of one are frozen, their
    momentum is kept.

    Args:
        optimizers: Optimisers that share no parameter.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = optimizers
        super().__init__([group for each in optimizers for group in each.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Make the optimisers use the groups and the state of this one."""
        start = 0
        for each in self.optimizers:
            stop = start + len(each.param_groups)
            each.param_groups, each.state = self.param_groups[start:stop], self.state
            start = stop

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """See ``torch.optim.Optimizer``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for each in self.optimizers:
            each.step()
        return loss


@dataclass(frozen=True)
class Turn:
    """One of several optimisers that train in turns within a stage.

    Args:
        optim: The optimiser. Its schedule runs over all steps of the stage.
        trains: Patterns (``fnmatch``) of the names of the parameters that it trains.
    """

    optim: Optim
    trains: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """One stage of a training in several: what trains, for how long, and how.

    Args:
        name: Shown when the stage begins.
        epochs: Length in epochs; the last stage continues to the end of training.
        optim: The optimiser, built anew when the stage begins.
        trains: Patterns (``fnmatch``) of the names of the parameters that train. All others are frozen, and modules
            whose parameters are all frozen keep their batch statistics.
        turns: Optimisers that train in turns, in place of ``optim`` and ``trains``. While one trains, the parameters
            of the others are frozen, and their state, e.g. momentum, is kept. No parameter may be in two turns.
        turn_steps: Length of a turn in optimiser steps. Default: 0, one epoch.
        steps_per_batch: Optimiser steps per batch, each of which calls ``training_step`` with the same batch, where
            ``self.step_in_batch`` counts them from 0; schedules and ``global_step`` count them as one. With accumulated
            batches, the first step uses the gradients of all of them, the others those of the last batch.

    Raises:
        OptionError: A value outside its range.
    """

    name: str
    epochs: int
    optim: Optim = Optim()
    trains: tuple[str, ...] = ("*",)
    turns: tuple[Turn, ...] = ()
    turn_steps: int = 0
    steps_per_batch: int = 1

    def __post_init__(self) -> None:
        check_ranges(vars(self), {"turn_steps": "[0, inf)", "steps_per_batch": "[1, inf)"}, "stage.")

    @property
    def parts(self) -> tuple[Turn, ...]:
        """The optimisers with the parameters that each trains: ``turns``, or the only one."""
        return self.turns or (Turn(self.optim, self.trains),)

    def build(
        self, parameters: Iterable[tuple[str, nn.Parameter]], total_steps: int | None, epoch_steps: int | None = None
    ) -> tuple[Optimizer, Schedule]:
        """Build the stage's optimiser and its schedule, see [`Optim.build`][vidcore.training.optim.Optim.build].

        Raises:
            UserError: Two turns train one parameter, or a turn none.
        """
        named = list(parameters)
        if not self.turns:
            return self.optim.build(named, total_steps, epoch_steps)
        owners: dict[str, int] = {}
        optimizers, curves = [], []
        for index, turn in enumerate(self.turns):
            own = [(name, parameter) for name, parameter in named if first_match(name, turn.trains)]
            if not own:
                raise UserError(f"stage {self.name}: turn {index + 1} trains no parameter: {', '.join(turn.trains)}")
            for name, _ in own:
                if owners.setdefault(name, index) != index:
                    raise UserError(
                        f"stage {self.name}: turns {owners[name] + 1} and {index + 1} both train {name}: "
                        "a parameter must be in one turn"
                    )
            optimizers.append(turn.optim.optimizer(own))
            curves += [turn.optim.curve(total_steps, epoch_steps)] * len(optimizers[-1].param_groups)
        joint = JointOptimizer(optimizers)
        return joint, Schedule(joint, curves, epoch_steps)
