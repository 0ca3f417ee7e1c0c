"""What the tests of the suite share: the model under test, and comparisons."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from vidcore import plugins
from vidcore.batch import Batch, Output
from vidcore.flops import macs_per_row
from vidcore.module import VideoModule
from vidcore.testing.batches import task_of

TOLERANCE = 1e-4
"""By how much two float32 results may differ, as a share of the largest value."""


class Suite:
    """The attributes that an author sets, and the model that they make."""

    name: str | type[VideoModule]
    batch: Batch
    macs: float
    options: Mapping[str, Any] = {}

    @classmethod
    def model_class(cls) -> type[VideoModule]:
        """The class under test."""
        return plugins.load("vidcore.models", cls.name) if isinstance(cls.name, str) else cls.name

    @classmethod
    def build(cls, **changes: Any) -> VideoModule:
        """Builds the model for the batch, in training mode, from one seed.

        Args:
            **changes: Arguments that replace :attr:`options`.
        """
        assert len(cls.batch["ids"]) > 1, "the batch needs at least two rows, or tests of rows could not fail"
        options = {**copy.deepcopy(dict(cls.options)), **changes}
        if "clip" not in options and "rgb" in cls.batch["inputs"]:
            options["clip"] = _clip_of(cls)  # type: ignore[arg-type]  # mypy takes no class for hashable
        with seeded():
            return cls.model_class()(task_of(cls.batch), **options)

    @classmethod
    def new(cls) -> VideoModule:
        """A copy of the model as it is built."""
        return copy.deepcopy(_built(cls))  # type: ignore[arg-type]

    @classmethod
    def model(cls) -> VideoModule:
        """A copy in eval mode, with noise on its weights: what starts at zero would hide what is behind it."""
        model = cls.new().eval()
        with seeded(), torch.no_grad():
            for parameter in model.parameters():
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
                typical = max(float(parameter.square().mean().sqrt()), fan_in**-0.5)
                parameter.add_(0.1 * typical * torch.randn_like(parameter))
        return model

    @classmethod
    def new_batch(cls) -> Batch:
        """A copy of the batch, which a model may spoil."""
        return copy.deepcopy(cls.batch)

    def answers(self, model: VideoModule, batch: Batch) -> list[dict[str, Tensor]]:
        """What the model answers to each row; skips the test where that differs from one time to the next."""
        first, second = ask(model, batch), ask(model, batch, seed=1)
        if difference(first, second):
            pytest.skip("answers in eval mode are random: see test_eval_is_deterministic")
        return first

    def try_costs(self) -> dict[str, int] | Exception:
        """MACs by component, counted once for all tests, or why they cannot be."""
        return _costs_of(type(self))  # type: ignore[arg-type]

    def costs(self) -> dict[str, int]:
        """MACs by component; skips the test where they cannot be counted."""
        costs = self.try_costs()
        if isinstance(costs, Exception):
            pytest.skip("its cost cannot be counted: see test_every_operation_is_counted")
        return costs

    def costed(self, model: VideoModule) -> VideoModule:
        """The model, which need not count its cost again; skips the test where that is impossible."""
        model._costs = dict(self.costs())
        return model

    def macs_of(self, output: Output) -> Tensor:
        """MACs (B,) of each row by the model's own account; skips the test where that cannot be read."""
        costs = self.costs()
        try:
            return macs_per_row(output.usage, costs, len(self.batch["ids"]))
        except Exception:
            pytest.skip("Output.usage cannot be read: see test_usage_is_of_the_components")


@functools.cache
def _clip_of(suite: Any) -> dict[str, int]:
    """The clip that the suite's batch is of: the segments are the model's own."""
    with seeded():
        spec = suite.model_class()(task_of(suite.batch), **copy.deepcopy(dict(suite.options))).clip_spec
    *_, frames, _, size = suite.batch["inputs"]["rgb"].shape
    assert frames % spec.segments == 0, (
        f"{suite.model_class().__name__} takes {spec.segments} segments, which do not divide the batch's {frames} "
        "frames: give tiny_batch(frames=…) a multiple, or options = {'clip': {…}}"
    )
    return {"frames": frames // spec.segments, "size": size}


@functools.cache
def _built(suite: Any) -> VideoModule:
    return suite.build()


@functools.cache
def _costs_of(suite: Any) -> dict[str, int] | Exception:
    model = suite.new()
    try:
        return model.costs()
    except Exception as error:
        return error


def seed(number: int = 0) -> None:
    """Seeds all that a model may draw from."""
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)


@contextmanager
def seeded(number: int = 0) -> Iterator[None]:
    """A block that draws from the given seed, and leaves the generators as they were."""
    with isolate_rng(include_cuda=False):
        seed(number)
        yield


@torch.no_grad()
def run(model: VideoModule, batch: Batch, seed: int = 0) -> Output:
    """The model's output for a copy of the batch."""
    with seeded(seed):
        return model(copy.deepcopy(batch))


def ask(model: VideoModule, batch: Batch, seed: int = 0) -> list[dict[str, Tensor]]:
    """What the model answers to each row, by name."""
    output = run(model, batch, seed)
    return [row_answers(output, row) for row in range(len(batch["ids"]))]


def row_answers(output: Output, row: int) -> dict[str, Tensor]:
    """What an output says of one row, by name."""
    found = {} if output.logits is None else {"logits": output.logits[row]}
    if output.step_logits is not None:
        found["step_logits"] = output.step_logits[row]
    if output.detections is not None:
        found |= {f"detections {name}": value for name, value in output.detections[row].items()}
    return found


def difference(ours: list[dict[str, Tensor]], theirs: list[dict[str, Tensor]]) -> str:
    """How two lists of answers differ, in words; empty if they do not."""
    for row, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for name in sorted(mine.keys() | other.keys()):
            if text := unlike(mine.get(name), other.get(name)):
                return f"{name} of row {row} {text}"
    return ""


def unlike(mine: Tensor | None, other: Tensor | None, least: float = 0.0) -> str:
    """How two tensors differ, in words; empty if by less than ``least`` or the tolerance. NaN equals NaN."""
    if mine is None or other is None:
        return "" if mine is other else "are there in one and missing in the other"
    if mine.shape != other.shape:
        return f"have shape {tuple(mine.shape)} against {tuple(other.shape)}"
    mine, other = mine.detach().double(), other.detach().double()
    largest = float(other.nan_to_num().abs().max()) if other.numel() else 0.0
    if torch.allclose(mine, other, rtol=0, atol=max(TOLERANCE * largest, least), equal_nan=True):
        return ""
    return f"differ by up to {float((mine - other).abs().max()):.3g}, where the largest is {largest:.3g}"
