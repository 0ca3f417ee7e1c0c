"""Callback that writes the report of a run and logs it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from vidcore.distributed import gathered
from vidcore.flops import parameters
from vidcore.module import VideoModule
from vidcore.redaction import redacted
from vidcore.report.examples import Collector
from vidcore.report.summary import Component, Summary, versions


class Report(Callback):
    """Write ``report/`` in the run's folder at the end of a training, validation or test.

    During the run, only a few numbers and the frames of a few videos are kept. Any error becomes a warning: the report
    never stops a run.

    Args:
        folder: Folder of the run.
        model: Name of the model.
        data: Name of the data set.
        quiet: Whether not to print the path of the page. Default: False.
    """

    def __init__(self, folder: Path, model: str, data: str, quiet: bool = False) -> None:
        self.folder, self.model, self.data, self.quiet = folder, model, data, quiet
        self.history: list[dict[str, float]] = []
        self._loss, self._steps = torch.zeros(()), 0
        self._validated = self._trained = False
        self._seen: Collector | None = None
        self._runs: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the training curves, so that a resumed training continues them."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the training curves."""
        self.history = list(state_dict["history"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the history entry of an epoch resumed in its middle; Lightning skips on_train_epoch_start there."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the history entry of the epoch."""
        self._began, self._validated = time.perf_counter(), False
        self._loss, self._steps = torch.zeros((), device=pl_module.device), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Sum the loss on its device, without synchronisation."""
        self._trained = True
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor):
            self._loss, self._steps = self._loss + loss.detach(), self._steps + 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Complete the history entry, before the checkpoint of the epoch is written."""
        losses, steps = zip(*gathered((float(self._loss), self._steps)), strict=True)
        entry = {"epoch": trainer.current_epoch + 1.0, "seconds": time.perf_counter() - self._began}
        if sum(steps):
            entry["train/loss"] = sum(losses) / sum(steps)
        self.history.append(entry | (_metrics(trainer, "val") if self._validated else {}))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start collecting."""
        self._watch(trainer, pl_module, sum(trainer.num_val_batches))

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start collecting."""
        self._watch(trainer, pl_module, sum(trainer.num_test_batches))

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *step: Any, **rest: Any) -> None:
        """Collect the output of a batch."""
        self._look(*step)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *step: Any, **rest: Any) -> None:
        """Collect the output of a batch."""
        self._look(*step)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reduce over all processes."""
        self._validated = not trainer.sanity_checking
        self._add_up()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reduce over all processes."""
        self._add_up()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report of a validation that is not part of a training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report of a test."""
        self._write(trainer, pl_module, "test")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report of a training with examples of its last validation; keep the old one if nothing was trained.

        A finished training that is resumed ends before its first step.
        """
        page = self.folder / "report" / "index.html"
        if self._trained or not page.is_file():
            self._write(trainer, pl_module, "val")
        elif trainer.is_global_zero and not self.quiet:
            print(f"report: {page} (unchanged: training was already complete)", file=sys.stderr)

    def _watch(self, trainer: Trainer, pl_module: LightningModule, batches: float) -> None:
        assert isinstance(pl_module, VideoModule)
        self._seen = None if trainer.sanity_checking else Collector(pl_module, batches, trainer.is_global_zero)

    def _look(self, outputs: Any, batch: Any, index: int, loader: int = 0) -> None:
        if self._seen is not None and isinstance(outputs, dict) and "output" in outputs:
            seen, self._seen = self._seen, None  # stop collecting if this fails
            with _harmless("collecting examples for the report"):
                seen.add(outputs["output"], batch, index)
                self._seen = seen

    def _add_up(self) -> None:
        """Average the number of runs per component and clip over all processes."""
        found = gathered(self._seen.totals() if self._seen else (0, {}))
        rows, names = sum(rows for rows, _ in found), {name for _, runs in found for name in runs}
        self._runs = {name: sum(runs.get(name, 0.0) for _, runs in found) / rows for name in names if rows}

    def _write(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        with _harmless("the report"):
            # Import matplotlib and jinja2 only here, at the end of a run.
            from vidcore.report import page, tracking

            assert isinstance(pl_module, VideoModule)
            summary = self._summary(trainer, pl_module, split)
            folder = self.folder / "report"
            page.write(summary, folder, runs=self.folder.parent.parent)
            if not self.quiet:
                print(f"report: {folder / 'index.html'}", file=sys.stderr)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    tracking.log_report(logger.experiment, summary, folder)

    def _summary(self, trainer: Trainer, module: VideoModule, split: str) -> Summary:
        metrics = _metrics(trainer, split)
        components = [
            Component(name, parameters(part), module.costs()[name] / 1e9, self._runs.get(name, 1.0))
            for name, (part, _) in module.components().items()
        ]
        if components and self._runs:  # a test reports the measured value per video, summed over its views
            metrics.setdefault(f"{split}/gmacs", sum(part.gmacs * part.runs for part in components))
        judged = getattr(module.test_metrics if split == "test" else module.val_metrics, "judged", None)
        scores, targets = (value.cpu().numpy() for value in judged) if judged is not None else (None, None)
        if scores is not None and np.isnan(scores).any():  # figures would be wrong
            scores = targets = None
        config = self.folder / "config.yaml"
        return Summary(
            run="/".join(self.folder.parts[-2:]),
            model=self.model,
            data=self.data,
            split=split,
            task=module.task,
            parameters=module.num_parameters(),
            metrics=metrics,
            clips=judged_clips(trainer, module, split),
            components=components,
            history=self.history if trainer.state.fn == TrainerFn.FITTING else (),
            scores=scores,
            targets=targets,
            examples=self._seen.examples if self._seen else (),
            config=config.read_text() if config.is_file() else "",
            versions=versions(),
        )


def judged_clips(trainer: Trainer, module: VideoModule, split: str) -> int | None:
    """Return the number of clips (distinct videos) in the last evaluation of the split."""
    judged = getattr(module.test_metrics if split == "test" else module.val_metrics, "judged", None)
    return len(judged[0]) if judged is not None else trainer.datamodule.sizes.get(split)  # type: ignore[attr-defined]


def _metrics(trainer: Trainer, split: str) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(f"{split}/")}


@contextmanager
def _harmless(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        rank_zero_warn(f"{what} failed, the run is not affected: {type(error).__name__}: {redacted(str(error))}")
