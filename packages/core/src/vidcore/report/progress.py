"""Progress of a training: a bar on a terminal, otherwise one line per epoch."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar
from rich import get_console

from vidcore.report.units import written


def progress() -> ProgressBar:
    """Return a progress bar for a terminal, or one that prints lines."""
    return Bar() if get_console().is_terminal else Lines()


class Clock:
    """Estimates the remaining time from the epochs since its creation."""

    def __init__(self, trainer: Trainer) -> None:
        self.began, self.first = time.perf_counter(), trainer.current_epoch

    def left(self, trainer: Trainer, done: int) -> str:
        """Return the time (h:mm:ss) from the end of epoch ``done`` to the end of the last epoch; empty if unknown."""
        if done <= self.first or not trainer.max_epochs or trainer.max_epochs < done:
            return ""
        each = (time.perf_counter() - self.began) / (done - self.first)
        return str(timedelta(seconds=round(each * (trainer.max_epochs - done))))


class Bar(RichProgressBar):
    """Rich progress bar with epochs counted from 1 and the remaining time of the whole training."""

    _clock: Clock | None = None
    _left = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._clock = Clock(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Update the remaining time."""
        self._left = self._clock.left(trainer, trainer.current_epoch) if self._clock else ""
        super().on_train_epoch_start(trainer, pl_module)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return loss and validation metrics; ``left`` is the time to the end of the last epoch."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return ({"left": self._left} if self._left else {}) | metrics

    def _get_train_description(self, current_epoch: int) -> str:
        last = f"/{self.trainer.max_epochs}" if (self.trainer.max_epochs or -1) > 0 else ""
        return f"{f'epoch {current_epoch + 1}{last}':{len(self.validation_description)}}"


class Lines(ProgressBar):
    """One line per epoch on standard error, for log files."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True

    def disable(self) -> None:
        """Stop printing, as in all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Print again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._clock = Clock(trainer)
        self._epoch_began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line."""
        now = time.perf_counter()
        took, self._epoch_began = now - self._epoch_began, now
        if not self._enabled:
            return
        done = trainer.current_epoch + 1
        last = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        metrics = [f"{name} {written(name, float(value))}" for name, value in trainer.progress_bar_metrics.items()]
        left = self._clock.left(trainer, done)
        parts = [f"epoch {done}{last}", *metrics, f"{took:.1f} s", *([f"{left} left"] if left else [])]
        print("  ".join(parts), file=sys.stderr, flush=True)
