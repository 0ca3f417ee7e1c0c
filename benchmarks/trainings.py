"""Run the trainings and tests of benchmark tables with the `vid` command; finished ones are not repeated."""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

COMMON = (
    "--data.batch_size 8 --data.num_workers 1 --trainer.enable_progress_bar false --trainer.num_sanity_val_steps 0"
).split()


def vid(*arguments: str, log: Path) -> None:
    """Run `vid` on one thread with its output in a file."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        subprocess.run(
            [sys.executable, "-m", "vidcore.cli", *arguments], check=True, stdout=file, stderr=file, env=environment
        )


def train(
    place: Path, seed: int, arguments: Sequence[str], test: bool = True, accelerator: str = "cpu"
) -> dict[str, float]:
    """Train and test in the folder ``place``.

    Returns:
        ``top1`` of the validation after the last epoch, not of the best one, which would flatter; ``test_top1``;
        ``gmacs`` a video; ``minutes`` that all took.
    """
    place.mkdir(parents=True, exist_ok=True)
    minutes = place / "minutes.txt"
    logger = ("--trainer.accelerator", accelerator, "--trainer.logger.save_dir", str(place), "--trainer.logger.name")
    if not minutes.exists():
        start = time.perf_counter()
        vid("fit", *COMMON, *arguments, "--seed_everything", str(seed), *logger, "fit", log=place / "fit.log")
        if test:
            vid("test", "--ckpt_path", str(last(place)), *logger, "test", log=place / "test.log")
        minutes.write_text(str((time.perf_counter() - start) / 60))
    result = {"minutes": float(minutes.read_text())}
    with (place / "fit" / "version_0" / "metrics.csv").open() as file:
        result["top1"] = [float(row["val/top1"]) for row in csv.DictReader(file) if row["val/top1"]][-1]
    if test:
        with (place / "test" / "version_0" / "metrics.csv").open() as file:
            tested = next(csv.DictReader(file))
        result |= {"gmacs": float(tested["test/gmacs"]), "test_top1": float(tested["test/top1"])}
    return result


def last(place: Path) -> Path:
    """Return the checkpoint of a training's last epoch."""
    return place / "fit" / "version_0" / "checkpoints" / "last.ckpt"


def labels(folder: str) -> list[dict[str, str]]:
    """Read the rows of a set's `labels.csv`."""
    with (Path(folder) / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def percent(values: Sequence[float]) -> str:
    """Format mean, standard deviation and all values of fractions, in %."""
    shown = ", ".join(f"{100 * value:.1f}" for value in values)
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{deviation} % ({shown})"
