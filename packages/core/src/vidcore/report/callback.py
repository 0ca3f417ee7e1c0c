"""Watches a run, and when it is over writes its page and tells its loggers."""

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
    """Writes ``report/`` in the run's folder at the end of a training, a validation or a test.

    During the run it keeps a few numbers and the frames of a few videos. Whatever goes wrong with it is a warning: no
    run is lost for a picture.

    Args:
        folder: The run's.
        model: What the model is called.
        data: What the data are called.
        quiet: Whether the path of the page is not printed.
    """

    def __init__(self, folder: Path, model: str, data: str, quiet: bool = False) -> None:
        self.folder, self.model, self.data, self.quiet = folder, model, data, quiet
        self.history: list[dict[str, float]] = []
        self._loss, self._steps = torch.zeros(()), 0
        self._validated = self._trained = False
        self._seen: Collector | None = None
        self._runs: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """The curves so far, so that a training that goes on continues them."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See Lightning."""
        self.history = list(state_dict["history"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins the entry of an epoch that a training goes on with in its middle, where Lightning begins none."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins the epoch's entry in the history."""
        self._began, self._validated = time.perf_counter(), False
        self._loss, self._steps = torch.zeros((), device=pl_module.device), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds up the loss where it is: to read it would be to wait for the device."""
        self._trained = True
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor):
            self._loss, self._steps = self._loss + loss.detach(), self._steps + 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the entry, before the checkpoint of the epoch is written."""
        losses, steps = zip(*gathered((float(self._loss), self._steps)), strict=True)
        entry = {"epoch": trainer.current_epoch + 1.0, "seconds": time.perf_counter() - self._began}
        if sum(steps):
            entry["train/loss"] = sum(losses) / sum(steps)
        self.history.append(entry | (_metrics(trainer, "val") if self._validated else {}))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to watch."""
        self._watch(trainer, pl_module, sum(trainer.num_val_batches))

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to watch."""
        self._watch(trainer, pl_module, sum(trainer.num_test_batches))

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *step: Any, **rest: Any) -> None:
        """Looks at what the model said."""
        self._look(*step)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *step: Any, **rest: Any) -> None:
        """Looks at what the model said."""
        self._look(*step)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds up over all processes."""
        self._validated = not trainer.sanity_checking
        self._add_up()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds up over all processes."""
        self._add_up()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the report of a validation by itself."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the report of a test."""
        self._write(trainer, pl_module, "test")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the report of a training, with the pictures of its last validation; keeps it if nothing was trained.

        A finished training that is resumed ends before its first step, with nothing to show.
        """
        page = self.folder / "report" / "index.html"
        if self._trained or not page.is_file():
            self._write(trainer, pl_module, "val")
        elif trainer.is_global_zero and not self.quiet:
            print(f"report: {page}, of before: nothing was left to train", file=sys.stderr)

    def _watch(self, trainer: Trainer, pl_module: LightningModule, batches: float) -> None:
        assert isinstance(pl_module, VideoModule)
        self._seen = None if trainer.sanity_checking else Collector(pl_module, batches, trainer.is_global_zero)

    def _look(self, outputs: Any, batch: Any, index: int, loader: int = 0) -> None:
        if self._seen is not None and isinstance(outputs, dict) and "output" in outputs:
            seen, self._seen = self._seen, None  # which it stays where this fails
            with _harmless("watching the evaluation for the report"):
                seen.add(outputs["output"], batch, index)
                self._seen = seen

    def _add_up(self) -> None:
        """Average runs a clip of each component; all processes take part, whatever they have."""
        found = gathered(self._seen.totals() if self._seen else (0, {}))
        rows, names = sum(rows for rows, _ in found), {name for _, runs in found for name in runs}
        self._runs = {name: sum(runs.get(name, 0.0) for _, runs in found) / rows for name in names if rows}

    def _write(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        with _harmless("the report"):
            # matplotlib and jinja2 are imported where they are needed, which is once, at the end.
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
        if components and self._runs:  # a test has measured the same for a video, all of its views together
            metrics.setdefault(f"{split}/gmacs", sum(part.gmacs * part.runs for part in components))
        judged = getattr(module.test_metrics if split == "test" else module.val_metrics, "judged", None)
        scores, targets = (value.cpu().numpy() for value in judged) if judged is not None else (None, None)
        if scores is not None and np.isnan(scores).any():  # no figure would be true of them
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
    """Number of clips (videos, however many views each has) that the split's last evaluation judged."""
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
