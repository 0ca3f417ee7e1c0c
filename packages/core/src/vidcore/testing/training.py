"""Tests of training."""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn import functional as F

from vidcore.testing.batches import task_of
from vidcore.testing.fitting import Trained, Watch, fit, frozen_statistics
from vidcore.testing.suite import TOLERANCE, seeded, unlike
from vidcore.training.optim import Stage, first_match


class TrainingTests(Trained):
    """Tests of a few steps of each stage, on one process and on two."""

    def test_trains(self) -> None:
        """Every training stage runs."""
        if error := self.training(failed=True).error:
            raise AssertionError(f"training fails: {type(error).__name__}: {error}") from error

    def test_training_lowers_the_loss(self) -> None:
        """A few steps on one batch, each with the same seed, lower its loss."""
        training = self.training()
        if any(seen.not_finite for seen in training.stages):
            pytest.skip("gradients are not finite: see test_gradients_are_finite")
        losses = training.losses
        if not losses:
            pytest.skip("training_step returns no loss")
        assert min(losses[1:]) < losses[0], f"the loss of one batch does not fall: {losses}; look at its sign"

    def test_backward_reaches_every_trainable_parameter(self) -> None:
        """In each stage, every trainable parameter gets a gradient."""
        for seen in self.training().stages:
            unreached = _listed(seen.trainable - seen.reached)
            assert not unreached, (
                f"no gradient reaches {unreached}: remove what forward does not use, or freeze it "
                "(requires_grad_(False) in __init__, or Stage.trains)"
            )

    def test_gradients_are_finite(self) -> None:
        """No gradient contains NaN or infinity."""
        for seen in self.training().stages:
            bad = _listed(seen.not_finite)
            assert not bad, f"the gradient of {bad} holds NaN or infinity: a root, logarithm or quotient near 0?"

    def test_every_trainable_parameter_has_a_learning_rate(self) -> None:
        """In each stage, every trainable parameter is in exactly one optimiser group, with a positive learning rate."""
        for seen in self.training().stages:
            for name, rates in sorted(seen.groups.items()):
                assert rates, f"{name} has no learning rate: configure_optimizers gives it to no optimiser"
                assert len(rates) == 1, f"{name} is in {len(rates)} groups of optimisers: one must have it"
                assert rates[0] > 0, f"{name} has the learning rate {rates[0]}: freeze it instead"

    def test_every_pattern_matches_a_parameter(self) -> None:
        """Each pattern of ``Stage.trains``, ``Turn.trains`` and ``Optim.factors`` matches a parameter's name."""
        model = self.new()
        names = [name for name, _ in model.named_parameters()]
        stages = model.stages() or [Stage("", 1, model.optim)]
        for turn in (turn for stage in stages for turn in stage.parts):
            for pattern in (*turn.trains, *turn.optim.factors):
                assert any(first_match(name, [pattern]) for name in names), (
                    f"{pattern} matches no parameter: compare it with the names in named_parameters()"
                )

    def test_frozen_parts_keep_their_batch_statistics(self) -> None:
        """Running statistics of parts frozen by a stage or by ``requires_grad_(False)`` do not change."""
        model = self.new().requires_grad_(False)
        before = copy.deepcopy(frozen_statistics(model))
        if not before:
            pytest.skip("it has no running statistics")
        with seeded(), torch.no_grad():
            model.train()(self.new_batch())
        moved = {name for name, value in frozen_statistics(model).items() if not torch.equal(value, before[name])}
        assert not moved, (
            f"all parameters are frozen, and yet {_listed(moved)} moved in training mode: train() must leave frozen "
            "modules in eval mode, as VideoModule.train does"
        )
        for seen in self.training().stages:
            assert not seen.moved, (
                f"{_listed(seen.moved)} moved, though nothing of its module trains: call train() of no submodule "
                "while the model trains"
            )

    def test_takes_mixed_targets(self) -> None:
        """Training accepts mixup and CutMix targets of single_label tasks, (B, K) float."""
        task, batch = task_of(self.batch), self.new_batch()
        if task.kind != "single_label":
            pytest.skip("targets are mixed for single_label only")
        labels = F.one_hot(batch["target"], task.num_classes).float()
        batch["target"] = 0.75 * labels + 0.25 * labels.roll(1, 0)
        self.training()
        try:
            fit(self.costed(self.new()), [batch])
        except Exception as error:
            raise AssertionError(
                f"training fails with targets (B, K) as mixing makes them: {type(error).__name__}: {error}"
            ) from error

    def test_trains_in_mixed_precision(self) -> None:
        """A step in bfloat16 autocast runs and has finite gradients."""
        if any(seen.not_finite for seen in self.training().stages):
            pytest.skip("gradients are not finite in float32 either: see test_gradients_are_finite")
        try:
            _, watch = fit(self.costed(self.new()), [self.batch], precision="bf16-mixed")
        except Exception as error:
            raise AssertionError(f"--trainer.precision bf16-mixed fails: {type(error).__name__}: {error}") from error
        bad = _listed(set().union(*(seen.not_finite for seen in watch.stages)))
        assert not bad, f"in bf16-mixed the gradient of {bad} holds NaN or infinity"

    def test_two_processes_equal_one(self) -> None:
        """Gradients of two processes with one batch each equal those of one process that accumulates both batches."""
        if sys.platform != "linux" or torch.cuda.is_initialized():
            pytest.skip("needs to fork, which is safe on Linux before CUDA is used")
        self.training()
        other = self.new_batch()
        other["inputs"] = {name: value.flip(-1) * 0.5 for name, value in other["inputs"].items()}
        gradients: list[dict[str, Tensor]] = []
        ddp = DDPStrategy(
            start_method="fork",
            process_group_backend="gloo",
            cluster_environment=LightningEnvironment(),
            find_unused_parameters=True,
            timeout=timedelta(seconds=60),
        )
        ways: tuple[dict[str, Any], ...] = ({"accumulate_grad_batches": 2}, {"strategy": ddp, "devices": 2})
        with tempfile.TemporaryDirectory() as folder:
            for number, how in enumerate(ways):
                path = Path(folder) / f"{number}.pt"
                fit(self.costed(self.new()), [self.batch, other], Watch(path), max_steps=1, **how)
                gradients.append(torch.load(path, weights_only=True))
        one, two = gradients
        largest = max((float(value.abs().max()) for value in one.values()), default=0.0)
        for name in sorted(one.keys() | two.keys()):
            # Tolerance relative to the largest gradient: that of a bias before a normalisation is only rounding error.
            text = unlike(two.get(name), one.get(name), least=TOLERANCE * largest)
            assert not text, (
                f"gradients of {name} on two processes and on one {text}: DDP averages them already; nothing in the "
                "loss may depend on the rank or the number of processes"
            )


def _listed(names: Iterable[str]) -> str:
    """Join the first few names for a message."""
    ordered = sorted(names)
    more = f" and {len(ordered) - 5} more" if len(ordered) > 5 else ""
    return ", ".join(ordered[:5]) + more
