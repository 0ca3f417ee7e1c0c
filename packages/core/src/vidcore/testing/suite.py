"""Common parts of the conformance tests: the model under test, and comparisons."""

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
"""Maximum difference of two float32 results, relative to the largest value."""


class Suite:
    """Attributes that a plugin's author sets, and the model built from them."""

    name: str | type[VideoModule]
    batch: Batch
    macs: float
    options: Mapping[str, Any] = {}

    @classmethod
    def model_class(cls) -> type[VideoModule]:
        """Return the class under test."""
        return plugins.load("vidcore.models", cls.name) if isinstance(cls.name, str) else cls.name

    @classmethod
    def build(cls, **changes: Any) -> VideoModule:
        """Build the model for the batch, in training mode, with a fixed seed.

        Args:
            **changes: Arguments that replace those of ``options``.
        """
        assert len(cls.batch["ids"]) > 1, "the batch needs at least two rows, or tests of rows could not fail"
        options = {**copy.deepcopy(dict(cls.options)), **changes}
        if "clip" not in options and "rgb" in cls.batch["inputs"]:
            options["clip"] = _clip_of(cls)  # type: ignore[arg-type]  # mypy takes no class for hashable
        with seeded():
            return cls.model_class()(task_of(cls.batch), **options)

    @classmethod
    def new(cls) -> VideoModule:
        """Return a copy of the model as built."""
        return copy.deepcopy(_built(cls))  # type: ignore[arg-type]

    @classmethod
    def model(cls) -> VideoModule:
        """Return a copy in eval mode with noise on its weights, since zero-initialised weights would hide errors."""
        model = cls.new().eval()
        with seeded(), torch.no_grad():
            for parameter in model.parameters():
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
                typical = max(float(parameter.square().mean().sqrt()), fan_in**-0.5)
                parameter.add_(0.1 * typical * torch.randn_like(parameter))
        return model

    @classmethod
    def new_batch(cls) -> Batch:
        """Return a copy of the batch, which a model may modify."""
        return copy.deepcopy(cls.batch)

    def answers(self, model: VideoModule, batch: Batch) -> list[dict[str, Tensor]]:
        """Return the model's results for each row; skip the test if they are not deterministic."""
        first, second = ask(model, batch), ask(model, batch, seed=1)
        if difference(first, second):
            pytest.skip("results in eval mode are random: see test_eval_is_deterministic")
        return first

    def try_costs(self) -> dict[str, int] | Exception:
        """Return MACs by component, counted once for all tests, or the error that prevents it."""
        return _costs_of(type(self))  # type: ignore[arg-type]

    def costs(self) -> dict[str, int]:
        """Return MACs by component; skip the test if they cannot be counted."""
        costs = self.try_costs()
        if isinstance(costs, Exception):
            pytest.skip("its cost cannot be counted: see test_every_operation_is_counted")
        return costs

    def costed(self, model: VideoModule) -> VideoModule:
        """Set the model's cost, so that it is not counted again; skip the test if it cannot be counted."""
        model._costs = dict(self.costs())
        return model

    def macs_of(self, output: Output) -> Tensor:
        """Return the MACs (B,) of each row from ``output.usage``; skip the test if they cannot be computed."""
        costs = self.costs()
        try:
            return macs_per_row(output.usage, costs, len(self.batch["ids"]))
        except Exception:
            pytest.skip("Output.usage cannot be read: see test_usage_is_of_the_components")


@functools.cache
def _clip_of(suite: Any) -> dict[str, int]:
    """Return the clip options for the suite's batch; the number of segments is the model's own."""
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
    """Seed all random generators that a model may use."""
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)


@contextmanager
def seeded(number: int = 0) -> Iterator[None]:
    """Run a block with a given seed, and restore the generators afterwards."""
    with isolate_rng(include_cuda=False):
        seed(number)
        yield


@torch.no_grad()
def run(model: VideoModule, batch: Batch, seed: int = 0) -> Output:
    """Return the model's output for a copy of the batch."""
    with seeded(seed):
        return model(copy.deepcopy(batch))


def ask(model: VideoModule, batch: Batch, seed: int = 0) -> list[dict[str, Tensor]]:
    """Return the model's results for each row, by name."""
    output = run(model, batch, seed)
    return [row_answers(output, row) for row in range(len(batch["ids"]))]


def row_answers(output: Output, row: int) -> dict[str, Tensor]:
    """Return the results of one row of an output, by name."""
    found = {} if output.logits is None else {"logits": output.logits[row]}
    if output.step_logits is not None:
        found["step_logits"] = output.step_logits[row]
    if output.detections is not None:
        found |= {f"detections {name}": value for name, value in output.detections[row].items()}
    return found


def difference(ours: list[dict[str, Tensor]], theirs: list[dict[str, Tensor]]) -> str:
    """Describe how two lists of results differ; empty if they do not."""
    for row, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for name in sorted(mine.keys() | other.keys()):
            if text := unlike(mine.get(name), other.get(name)):
                return f"{name} of row {row} {text}"
    return ""


def unlike(mine: Tensor | None, other: Tensor | None, least: float = 0.0) -> str:
    """Describe how two tensors differ; empty if by less than ``least`` or the tolerance. NaN equals NaN."""
    if mine is None or other is None:
        return "" if mine is other else "are there in one and missing in the other"
    if mine.shape != other.shape:
        return f"have shape {tuple(mine.shape)} against {tuple(other.shape)}"
    mine, other = mine.detach().double(), other.detach().double()
    largest = float(other.nan_to_num().abs().max()) if other.numel() else 0.0
    if torch.allclose(mine, other, rtol=0, atol=max(TOLERANCE * largest, least), equal_nan=True):
        return ""
    return f"differ by up to {float((mine - other).abs().max()):.3g}, where the largest is {largest:.3g}"
