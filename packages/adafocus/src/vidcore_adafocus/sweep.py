"""What early exit saves and costs: thresholds from validation videos, judged on test videos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vidcore.atomic import AtomicCheckpointIO
from vidcore.batch import Batch
from vidcore.checkpoint import read_checkpoint
from vidcore.errors import UserError
from vidcore.metrics import ClassificationMetrics
from vidcore_adafocus.exits import Criterion, check_budget, confidence, exit_steps, mean_cost, thresholds_for
from vidcore_adafocus.module import AdaFocusModule


class ExitSweep(Callback):
    """In a test of AdaFocus, finds thresholds for each budget on ``val``, and prints what they give on ``test``.

    Args:
        budgets: GMACs a video; none: what one frame costs, what two cost, and so on.
        by: How confidence is measured.
        output: JSON file to write the rows to as well.
        source: The checkpoint that is tested.
        save: Checkpoint to write, with the thresholds of the only budget.
    """

    def __init__(
        self,
        budgets: Sequence[float] = (),
        by: Criterion = "max_softmax",
        output: str | None = None,
        source: str | None = None,
        save: str | None = None,
    ) -> None:
        self.budgets, self.by, self.output, self.source, self.save = list(budgets), by, output, source, save
        self.rows: list[dict[str, Any]] = []
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._ids: list[str] = []
        confidence(torch.zeros(1, 2), by)  # an unknown one is refused before all the work

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds the thresholds.

        Raises:
            UserError: Another model, one without steps, several processes, or a budget below the first frame's cost.
        """
        if not isinstance(pl_module, AdaFocusModule) or pl_module.net.variant.shift:
            raise UserError("early exits are of AdaFocus without temporal shift")
        if trainer.world_size > 1:
            raise UserError(f"early exits are calibrated by one process, not by {trainer.world_size}")
        pl_module.net.exit_by = None  # all steps are wanted
        frames = pl_module.net.frames
        self.costs = sum(pl_module.costs().values()) * torch.arange(1, frames + 1, dtype=torch.float64)
        budgets = [budget * 1e9 for budget in self.budgets] or self.costs.tolist()
        check_budget(self.costs, min(budgets))
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        scores = []
        for batch in data.val_dataloader():
            if batch["ids"]:
                moved: Batch = pl_module._apply_batch_transfer_handler(batch, pl_module.device)
                scores.append(confidence(pl_module(moved).step_logits, self.by).cpu())
        if not scores:
            raise UserError("early exits: not one sample of val could be read")
        held_out = torch.cat(scores)
        self.thresholds = [thresholds_for(held_out, self.costs, budget) for budget in budgets]
        self.rows = [
            {"budget": budget / 1e9, "val_gmacs": mean_cost(held_out, thresholds, self.costs) / 1e9}
            for budget, thresholds in zip(budgets, self.thresholds, strict=True)
        ]

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Keeps the logits of all steps."""
        if outputs is not None:
            self._logits.append(outputs["output"].step_logits.float().cpu())
            self._targets.append(batch["target"].cpu())
            self._ids += batch["ids"]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints and writes the table, and the checkpoint."""
        if not self._logits:
            return
        logits, targets = torch.cat(self._logits), torch.cat(self._targets)
        scores = confidence(logits, self.by)
        for row, thresholds in zip(self.rows, self.thresholds, strict=True):
            steps = exit_steps(scores, thresholds)
            metrics = ClassificationMetrics(pl_module.task)  # type: ignore[arg-type]
            metrics.update(logits[torch.arange(len(logits)), steps], targets, self._ids)
            row["test_gmacs"] = float(self.costs[steps].mean()) / 1e9
            row |= {name: float(value) for name, value in metrics.compute().items()}
        widths = {name: max(len(name), 9) for name in self.rows[0]}
        print("  ".join(name.rjust(width) for name, width in widths.items()))
        for row in self.rows:
            print("  ".join(f"{row[name]:{width}.4g}" for name, width in widths.items()))
        if self.output:
            Path(self.output).parent.mkdir(parents=True, exist_ok=True)
            Path(self.output).write_text(json.dumps(self.rows, indent=2) + "\n", encoding="utf-8")
        if self.save and self.source:
            write_thresholds(self.source, self.save, self.thresholds[0], self.by)


def write_thresholds(source: str | Path, path: str | Path, thresholds: Tensor, by: Criterion) -> None:
    """Copies a checkpoint, with thresholds (T,) by which its model then exits."""
    checkpoint = read_checkpoint(source)
    checkpoint["state_dict"]["net.exit_thresholds"] = thresholds.float()
    checkpoint["hyper_parameters"]["exit_by"] = by
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
