"""What early exit and skipping save and cost: thresholds from validation videos, judged on test videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vidcore.batch import Batch
from vidcore.errors import UserError
from vidcore.metrics import ClassificationMetrics
from vidcore.text import to_json
from vidcore.training.checkpoint_io import AtomicCheckpointIO
from vidcore.weights.checkpoint import read_checkpoint
from vidcore_adafocus.exits import check_budget, confidence, exit_steps, look_threshold, mean_cost, thresholds_for
from vidcore_adafocus.module import AdaFocusModule

SKIP = "skip"
"""In place of a criterion of exits: no exit, but the frames that a policy which skips looks at."""


class ExitSweep(Callback):
    """In a test of AdaFocus, finds thresholds for each budget on ``val``, and prints what they give on ``test``.

    Args:
        budgets: GMACs a video; none: what one frame costs (with [`SKIP`][vidcore_adafocus.sweep.SKIP] one look), what
            two cost, and so on.
        by: How confidence is measured, or [`SKIP`][vidcore_adafocus.sweep.SKIP].
        output: JSON file to write the rows to as well.
        source: The checkpoint that is tested.
        save: Checkpoint to write, with the thresholds of the only budget.
    """

    def __init__(
        self,
        budgets: Sequence[float] = (),
        by: str = "max_softmax",
        output: str | None = None,
        source: str | None = None,
        save: str | None = None,
    ) -> None:
        self.budgets, self.by, self.output, self.source, self.save = list(budgets), by, output, source, save
        self.rows: list[dict[str, Any]] = []
        self._metrics: list[ClassificationMetrics] = []
        self._macs: list[list[Tensor]] = []
        if by != SKIP:
            confidence(torch.zeros(1, 2), by)  # an unknown one is refused before all the work

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds the thresholds.

        Raises:
            UserError: Another model, one without steps or skips, several processes, or a budget below one frame's cost.
        """
        if not isinstance(pl_module, AdaFocusModule) or pl_module.net.config.shift:
            raise UserError("early exits are of AdaFocus without temporal shift")
        net = pl_module.net
        if self.by == SKIP and not net.config.skips:
            raise UserError(
                "this AdaFocus looks at all frames: only one trained with --model.skips true leaves some out"
            )
        if trainer.world_size > 1:
            raise UserError(f"early exits are calibrated by one process, not by {trainer.world_size}")
        net.exit_by = None  # all steps are wanted
        parts, count = pl_module.costs(), torch.arange(1, net.frames + 1, dtype=torch.float64)
        frame, look = sum(parts.values()), parts["focus"]
        self.rest, self.look = (frame - look) * net.frames, look  # without any look, and of one
        self.costs = self.rest + look * count if self.by == SKIP else frame * count
        budgets = [budget * 1e9 for budget in self.budgets] or self.costs.tolist()
        check_budget(self.costs, min(budgets))
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        scores = []
        for batch in data.val_dataloader():
            if batch["ids"]:
                moved: Batch = pl_module._apply_batch_transfer_handler(batch, pl_module.device)
                scores.append(self._scores(pl_module, moved).cpu())
        if not scores:
            raise UserError("early exits: not one sample of val could be read")
        held_out = torch.cat(scores)
        self.thresholds: list[Tensor] = []
        for budget in budgets:
            if self.by == SKIP:
                self.thresholds.append(torch.tensor(look_threshold(held_out, (budget - self.rest) / look)))
                macs = float(self._cost_of_looks((held_out >= self.thresholds[-1]).sum(1)).mean())
            else:
                self.thresholds.append(thresholds_for(held_out, self.costs, budget))
                macs = mean_cost(held_out, self.thresholds[-1], self.costs)
            self.rows.append({"budget": budget / 1e9, "val_gmacs": macs / 1e9})
            self._metrics.append(ClassificationMetrics(pl_module.task))
            self._macs.append([])

    def _scores(self, module: AdaFocusModule, batch: Batch) -> Tensor:
        """What thresholds are for (B, T): confidence after each step, or the probability of a look at each frame."""
        if self.by != SKIP:
            return confidence(module(batch).step_logits, self.by)
        net, video = module.net, batch["inputs"]["rgb"]
        return net.policy(net.global_features(video), video.new_zeros(len(video), net.policy.width))[0][..., 2]

    def _cost_of_looks(self, looks: Tensor) -> Tensor:
        """MACs (N,) of videos at which the focus network looks so often (N,)."""
        return self.rest + self.look * looks.double()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Scores what each budget's thresholds give."""
        if outputs is None:
            return
        net: Any = pl_module.net
        own = net.look_threshold.clone() if self.by == SKIP else None  # by which the test itself goes on
        every = outputs["output"].step_logits.float().cpu()
        scores = None if self.by == SKIP else confidence(every, self.by)
        for thresholds, metrics, macs in zip(self.thresholds, self._metrics, self._macs, strict=True):
            if scores is None:
                net.look_threshold.copy_(thresholds)
                found = pl_module(batch)
                logits = found.logits.float().cpu()
                macs.append(self._cost_of_looks(found.usage["focus"].cpu()))
            else:
                steps = exit_steps(scores, thresholds)
                logits = every[torch.arange(len(every)), steps]
                macs.append(self.costs[steps])
            metrics.update(logits, batch["target"].cpu(), batch["ids"])
        if own is not None:
            net.look_threshold.copy_(own)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints and writes the table, and the checkpoint."""
        if not self._macs or not self._macs[0]:
            return
        for row, metrics, macs in zip(self.rows, self._metrics, self._macs, strict=True):
            row["test_gmacs"] = float(torch.cat(macs).mean()) / 1e9
            row |= {name: float(value) for name, value in metrics.compute().items()}
        widths = {name: max(len(name), 9) for name in self.rows[0]}
        print("  ".join(name.rjust(width) for name, width in widths.items()))
        for row in self.rows:
            print("  ".join(f"{row[name]:{width}.4g}" for name, width in widths.items()))
        if self.output:
            Path(self.output).parent.mkdir(parents=True, exist_ok=True)
            Path(self.output).write_text(to_json(self.rows, indent=2) + "\n", encoding="utf-8")
        if self.save and self.source:
            write_thresholds(self.source, self.save, self.thresholds[0], self.by)


def write_thresholds(source: str | Path, path: str | Path, thresholds: Tensor, by: str) -> None:
    """Copies a checkpoint, with thresholds (T,) by which its model then exits, or the one by which it skips."""
    checkpoint = read_checkpoint(source)
    name = "look_threshold" if by == SKIP else "exit_thresholds"
    checkpoint["state_dict"][f"net.{name}"] = thresholds.float()
    if by != SKIP:
        checkpoint["hyper_parameters"]["exit_by"] = by
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
