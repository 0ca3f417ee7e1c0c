"""Tests of a model's cost and usage."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vidcore.flops import executed_macs
from vidcore.testing.suite import Suite, run, seeded


class CostTests(Suite):
    """Tests of MACs by component, and of ``Output.usage``."""

    def test_every_operation_is_counted(self) -> None:
        """The MACs of each component can be counted; operators without a formula are named."""
        costs = self.try_costs()
        if isinstance(costs, Exception):
            raise AssertionError(f"{type(costs).__name__}: {costs}") from costs

    def test_macs_are_as_expected(self) -> None:
        """The MACs of one row of the batch equal the suite's ``macs``."""
        model = self.model()
        found = float(self.macs_of(run(model, self.batch)).mean())
        if abs(found - self.macs) >= 0.5:
            parts = ", ".join(f"{name} {macs:,}" for name, macs in self.costs().items())
            raise AssertionError(f"expected {self.macs:,.0f} MACs per row, got {found:,.0f}; one run of each: {parts}")

    def test_counted_macs_are_executed(self) -> None:
        """The MACs executed in ``forward`` equal Σ usage·cost: none is missing, and none is counted in vain."""
        model, batch = self.model(), self.new_batch()
        said = int(self.macs_of(run(model, batch)).sum())
        with torch.no_grad(), seeded():
            ran = executed_macs(lambda: model(batch))
        assert ran == said, (
            f"forward executes {ran:,} MACs for the batch but reports {said:,}: components() must name every part that "
            "multiplies, and Output.usage how often each ran for each row"
        )

    def test_usage_is_of_the_components(self) -> None:
        """``Output.usage`` gives a number of runs, 0 or more, for each row, for existing components."""
        model = self.model()
        usage, rows = run(model, self.batch).usage, len(self.batch["ids"])
        if usage is None:
            pytest.skip("it reports no usage: every component runs once per row")
        components = model.components()
        unknown = ", ".join(sorted(usage.keys() - components.keys()))
        assert not unknown, f"usage names {unknown}; components() has {', '.join(components) or 'none'}"
        for name, runs in usage.items():
            assert runs.shape == (rows,), f"usage of {name} must be (B,) = {(rows,)}, got {tuple(runs.shape)}"
            assert (runs >= 0).all() and runs.isfinite().all(), f"usage of {name} is {runs.tolist()}: not a count"

    def test_decisions_are_those_of_usage(self) -> None:
        """``Output.decisions`` are (B, S) bool, and ``usage`` is the number of True of each row."""
        output, rows = run(self.model(), self.batch), len(self.batch["ids"])
        if not output.decisions:
            pytest.skip("it reports no decisions")
        for name, ran in output.decisions.items():
            form = f"{tuple(ran.shape)} {ran.dtype}"
            assert ran.dim() == 2 and len(ran) == rows and ran.dtype == torch.bool, (
                f"decisions of {name} must be (B, S) = ({rows}, S) torch.bool, got {form}"
            )
            said, counted = (output.usage or {})[name].tolist(), ran.sum(1).tolist()
            assert said == counted, f"usage of {name} is {said}, but its decisions have {counted} True"

    def test_costing_changes_nothing(self) -> None:
        """``components()`` and counting do not change the model."""
        self.costs()
        model = self.new()
        before = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, Tensor)}
        modes = {name: module.training for name, module in model.named_modules()}
        model.costs()
        changed = [name for name, module in model.named_modules() if modes.get(name) is not module.training]
        assert not changed, f"costing switches {changed[0] or 'the model'} between training and eval mode"
        after = model.state_dict()
        changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
        assert not changed, f"costing changes {', '.join(changed)}"
