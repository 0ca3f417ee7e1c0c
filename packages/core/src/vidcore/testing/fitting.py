"""Trainings of a few steps with a real Trainer, and observations of them."""

from __future__ import annotations

import copy
import functools
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vidcore.batch import Batch
from vidcore.module import VideoModule
from vidcore.testing.suite import Suite, ask, seed, seeded

STEPS = 3
"""Steps per stage."""


@dataclass
class Seen:
    """Observations of one training stage; all are names of parameters or buffers."""

    trainable: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)
    not_finite: set[str] = field(default_factory=set)
    groups: dict[str, list[float]] = field(default_factory=dict)
    """Learning rates of the optimiser groups that contain each trainable parameter."""
    moved: set[str] = field(default_factory=set)
    """Running statistics of frozen modules that changed."""


class Watch(Callback):
    """Callback that records each epoch, and the gradients of the very first step."""

    def __init__(self, gradients: Path | None = None) -> None:
        self.stages: list[Seen] = []
        self.losses: list[float] = []
        self.checkpoint: dict[str, Any] = {}
        self._gradients = gradients
        self._before: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """At the start of a stage, record the frozen parts and the optimiser groups."""
        if batch_idx:
            return
        parameters = {name: value for name, value in pl_module.named_parameters() if value.requires_grad}
        rates: dict[int, list[float]] = {}
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    rates.setdefault(id(parameter), []).append(float(group.get("initial_lr", group["lr"])))
        groups = {name: rates.get(id(value), []) for name, value in parameters.items()}
        self.stages.append(Seen(trainable=set(parameters), groups=groups))
        self._before = copy.deepcopy(frozen_statistics(pl_module))

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        """Record which parameters have a gradient."""
        seen = self.stages[-1]
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                seen.reached.add(name)
                if not parameter.grad.isfinite().all():
                    seen.not_finite.add(name)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Save the gradients to a file, since this may be another process."""
        if self._gradients and trainer.is_global_zero and not self._gradients.exists():
            found = {name: value.grad for name, value in pl_module.named_parameters() if value.grad is not None}
            torch.save(found, self._gradients)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record the loss and the running statistics that changed."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            self.losses.append(float(loss))
        after = frozen_statistics(pl_module)
        self.stages[-1].moved |= {
            name for name, value in self._before.items() if name in after and not torch.equal(value, after[name])
        }

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep a reference to the checkpoint, which other callbacks complete later."""
        self.checkpoint = checkpoint


def frozen_statistics(model: nn.Module) -> dict[str, Tensor]:
    """Return the running statistics of normalisation in modules all of whose parameters are frozen."""
    found: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            for name, buffer in module.named_buffers(prefix):
                if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked"):
                    found[name] = buffer
    return found


def fit(
    model: VideoModule, batches: Sequence[Batch], watch: Watch | None = None, **arguments: Any
) -> tuple[Trainer, Watch]:
    """Train on copies of the batches, one epoch per stage and turn; every step uses the same seed."""
    watch = watch or Watch()
    stages = [replace(stage, epochs=len(stage.parts), turn_steps=0) for stage in model.stages()]
    step: Callable[..., Any] = model.training_step

    @functools.wraps(step)
    def seeded_step(*args: Any) -> Any:
        seed()
        return step(*args)

    vars(model)["training_step"], vars(model)["stages"] = seeded_step, lambda: stages
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ),  # Lightning sets addresses of its processes
        warnings.catch_warnings(),
        seeded(),
    ):
        warnings.simplefilter("ignore")
        trainer = Trainer(
            **{
                "accelerator": "cpu",
                "devices": 1,
                "callbacks": [watch],
                "default_root_dir": folder,
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "max_epochs": max(1, sum(stage.epochs for stage in stages)),
                **arguments,
            }
        )
        copies: Any = [copy.deepcopy(batch) for batch in batches]
        trainer.fit(model, DataLoader(copies, batch_size=None))
    del vars(model)["training_step"], vars(model)["stages"]
    return trainer, watch


@dataclass
class Training:
    """Results of the training that most tests use."""

    error: Exception | None = None
    stages: list[Seen] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    checkpoint: bytes = b""
    not_plain: list[str] = field(default_factory=list)
    """Location and type of non-plain objects in the checkpoint."""
    answers: list[dict[str, Tensor]] = field(default_factory=list)
    """Results of the trained model in eval mode."""


@functools.cache
def _training_of(suite: Any) -> Training:
    model = suite().costed(suite.new())
    with tempfile.TemporaryDirectory() as folder:
        try:
            trainer, watch = fit(model, [suite.batch] * STEPS)
            path = Path(folder) / "model.ckpt"
            trainer.save_checkpoint(path)
            checkpoint = path.read_bytes()
        except Exception as error:
            return Training(error)
    model.eval()
    not_plain = list(_not_plain(watch.checkpoint, "checkpoint"))
    return Training(None, watch.stages, watch.losses, checkpoint, not_plain, ask(model, suite.batch))


def _not_plain(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _not_plain(item, f"{where}[{index}]")
    elif not isinstance(value, (str, int, float, bool, type(None), Tensor)):
        yield f"{where} is a {type(value).__module__}.{type(value).__qualname__}"


class Trained(Suite):
    """Base class of tests that need a training."""

    def training(self, failed: bool = False) -> Training:
        """Return the training; skip the test if it failed, unless ``failed`` is True."""
        self.costs()  # required by training
        training = _training_of(type(self))  # type: ignore[arg-type]
        if training.error and not failed:
            pytest.skip("it does not train: see test_trains")
        return training
