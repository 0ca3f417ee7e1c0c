"""Optimisers and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from vidcore.rmsprop import RMSpropTF


@dataclass(frozen=True)
class Optim:
    """An optimiser and its schedule.

    Args:
        name: ``adamw``, ``sgd``, ``rmsprop`` or ``rmsprop_tf`` (:class:`vidcore.rmsprop.RMSpropTF`, with its defaults).
        lr: Peak learning rate.
        weight_decay: On weights of two or more dimensions.
        decay_all: Decay biases, norms and scalars as well.
        momentum: Of ``sgd`` and both ``rmsprop``.
        nesterov: Whether the momentum of ``sgd`` looks ahead.
        schedule: After the warm-up, ``cosine`` to zero or ``constant``.
        warmup: Share of all steps, in [0, 1), over which the rate rises linearly from near zero.
        ema: Decay of an exponential moving average of the weights, which is then what is evaluated and saved; 0: none.
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

    @classmethod
    def of(cls, value: Optim | Mapping[str, Any]) -> Optim:
        """The record itself, or the one that a checkpoint holds as a mapping."""
        return value if isinstance(value, Optim) else cls(**value)

    def build(self, parameters: Iterable[nn.Parameter], total_steps: int) -> tuple[Optimizer, LRScheduler]:
        """The optimiser over the trainable ``parameters``, and its schedule in steps."""
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
        warmup = int(self.warmup * total_steps)

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            if self.schedule == "constant":
                return 1.0
            return (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total_steps - warmup)))) / 2

        # Its state is the step alone, so that a training that goes on for longer follows the longer schedule.
        return optimizer, LambdaLR(optimizer, factor)


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
