"""Loggers that write to the run's folder and continue there when the run is resumed."""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from vidcore.errors import UserError
from vidcore.redaction import redacted
from vidcore.text import is_utf8
from vidcore.writing import replacing


def logger_in(folder: Path, step: int | None, cls: type[Logger], **arguments: Any) -> Logger:
    """Create a logger; Lightning's CSV, TensorBoard and W&B loggers write to the run's folder.

    Args:
        folder: Folder of the run.
        step: First step to log if the run is resumed; None for a new run.
        cls: Class of the logger.
        **arguments: Arguments of the class.
    """
    if issubclass(cls, (CSVLogger, TensorBoardLogger)):
        arguments |= {"save_dir": str(folder.parent), "name": "", "version": folder.name}
    if cls is CSVLogger and step is not None:
        return ContinuedCSVLogger(step=step, **arguments)
    if issubclass(cls, TensorBoardLogger) and step is not None:
        arguments["purge_step"] = step
    if issubclass(cls, WandbLogger):
        arguments["save_dir"] = str(folder.absolute())  # W&B writes from a process with another working folder
        if not is_utf8(arguments["save_dir"]):
            raise UserError(f"W&B cannot write to {folder.absolute()}, which is not UTF-8: run vid in another folder")
        arguments["project"] = arguments.get("project") or os.environ.get("WANDB_PROJECT", "vidcore")
        if arguments.get("name") in (None, folder.parent.name):
            arguments["name"] = f"{folder.parent.name}/{folder.name}"
        if step is not None:
            arguments |= {"id": _wandb_id(folder) or arguments.get("id"), "resume": "allow"}
        if any(argument != redacted(argument) for argument in sys.argv):
            cls = _hiding(cls)
    return cls(**arguments)


def _hiding(cls: type[Logger]) -> type[Logger]:
    """Return a subclass that hides passwords and tokens of URLs in ``sys.argv`` from the W&B run."""

    class Hiding(cls):  # type: ignore[valid-type,misc]
        @property
        def experiment(self) -> Any:
            given, sys.argv = sys.argv, list(map(redacted, sys.argv))
            try:
                return super().experiment
            finally:
                sys.argv = given

    return Hiding


@contextmanager
def wandb_ends() -> Iterator[None]:
    """Finish the W&B run, if there is one, at the end of the block; mark it as failed if the block fails."""
    failed = True
    try:
        yield
        failed = False
    finally:
        if (wandb := sys.modules.get("wandb")) is not None:
            wandb.finish(exit_code=int(failed))


def wandb_discards() -> None:
    """End the W&B run as failed and delete it where it is online; its local files are in the run's folder."""
    wandb = sys.modules.get("wandb")
    run = wandb.run if wandb is not None else None
    if wandb is None or run is None:
        return
    path, offline = run.path, run.offline
    wandb.finish(exit_code=1)
    if not offline:
        with suppress(Exception):  # W&B's own kinds; the run stays, as failed
            wandb.Api().run(path).delete()


class ContinuedCSVLogger(CSVLogger):
    """CSV logger that continues an existing ``metrics.csv``, which Lightning's would delete.

    Rows that an interrupted run wrote after its last checkpoint are dropped, since these steps are repeated.

    Args:
        step: First step to log.
        **arguments: Passed to ``CSVLogger``.
    """

    def __init__(self, *, step: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._step = step

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Lightning's writer, with the existing rows before ``step``."""
        if self._experiment is None:
            self._experiment = _KeepingWriter(log_dir=self.log_dir)
            self._experiment.keep(self._step)
        return self._experiment


class _KeepingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Do not delete the existing file."""

    def keep(self, before: int) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            # A line truncated when the run was killed may have no valid step.
            rows = [row for row in reader if (row.get("step") or "").isdigit() and int(row["step"]) < before]
            self.metrics_keys = sorted(reader.fieldnames or [])
        with replacing(path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)


def _wandb_id(folder: Path) -> str | None:
    """Return the id of the W&B run in a folder, from the name of W&B's own subfolder."""
    runs = sorted((folder / "wandb").glob("*run-*-*"), key=lambda path: path.stat().st_mtime)
    found = [match[1] for path in runs if (match := re.fullmatch(r"(?:offline-)?run-\d+_\d+-(.+)", path.name))]
    return found[-1] if found else None
