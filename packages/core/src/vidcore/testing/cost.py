"""What a model costs, and what it says of that."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vidcore.flops import executed_macs
from vidcore.testing.suite import Suite, run, seeded


class CostTests(Suite):
    """MACs by component, and :attr:`vidcore.Output.usage`."""

    def test_every_operation_is_counted(self) -> None:
        """Each component's MACs can be counted; an operation without a formula is named."""
        costs = self.try_costs()
        if isinstance(costs, Exception):
            raise AssertionError(f"{type(costs).__name__}: {costs}") from costs

    def test_macs_are_as_expected(self) -> None:
        """A row of the batch costs what the suite's ``macs`` says."""
        model = self.model()
        found = float(self.macs_of(run(model, self.batch)).mean())
        if abs(found - self.macs) >= 0.5:
            parts = ", ".join(f"{name} {macs:,}" for name, macs in self.costs().items())
            raise AssertionError(f"a row takes {found:,.0f} MACs, not {self.macs:,.0f}; one run of each part: {parts}")

    def test_counted_macs_are_executed(self) -> None:
        """What runs in ``forward`` is what Σ usage·cost says: nothing is left out, nothing is counted in vain."""
        model, batch = self.model(), self.new_batch()
        said = int(self.macs_of(run(model, batch)).sum())
        with torch.no_grad(), seeded():
            ran = executed_macs(lambda: model(batch))
        assert ran == said, (
            f"forward executes {ran:,} MACs for the batch, and says {said:,}: components() must name every part that "
            "multiplies, and Output.usage how often each ran for each row"
        )

    def test_usage_is_of_the_components(self) -> None:
        """``Output.usage`` has a number of runs, 0 or more, for each row, of components that there are."""
        model = self.model()
        usage, rows = run(model, self.batch).usage, len(self.batch["ids"])
        if usage is None:
            pytest.skip("it says nothing of usage: every component runs once a row")
        components = model.components()
        unknown = ", ".join(sorted(usage.keys() - components.keys()))
        assert not unknown, f"usage names {unknown}; components() has {', '.join(components) or 'none'}"
        for name, runs in usage.items():
            assert runs.shape == (rows,), f"usage of {name} has shape {tuple(runs.shape)}, not (B,) = {(rows,)}"
            assert (runs >= 0).all() and runs.isfinite().all(), f"usage of {name} is {runs.tolist()}: not a count"

    def test_costing_changes_nothing(self) -> None:
        """``components()`` and counting leave the model as it was."""
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
