"""Overhead of ``vid fit`` per training step, compared with a plain PyTorch loop.

    python benchmarks/overhead.py

One process runs ``vid fit`` like a user, with logger, progress, report and checkpoints. Every ten steps a callback lets
a plain loop train a copy of the same network on the same batch for ten steps, with the same optimiser, schedule and
gradient clipping. The two alternate, and each pair of turns gives one ratio. A step is timed from its start to the
start of the next: it includes fetching and moving the batch, callbacks and logging. The batch stays in memory: reading
time, equal in both, would only bring the ratio closer to 1. Prints a Markdown table of medians with quartiles; exits
with 1 if a ratio of wall-clock time is above 1.05. The ratio of processor time depends less on other load of the
machine.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from vidcore import VideoModule
from vidcore.batch import Batch
from vidcore.cli import main as vid
from vidcore_datasets.moving_digits import MovingDigits

LIMIT = 1.05
TURN = 10
"""Steps per turn; equal to the logging interval, so that each turn logs once."""
WARM_UP = 3
"""Number of initial turns that are not timed."""
SETTINGS = ((8, 4, 48), (32, 4, 48))
"""Batch size, number of frames and frame size."""


Time = tuple[float, float]
"""Wall-clock seconds, and processor seconds of this process."""


class Repeated(Dataset[Batch]):
    """Repeat one batch ``steps`` times."""

    def __init__(self, batch: Batch, steps: int) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        if index >= self.steps:
            raise IndexError(index)
        return {**self.batch, "inputs": dict(self.batch["inputs"])}  # training modifies these


class HeldDigits(MovingDigits):
    """``moving_digits`` whose training loader repeats the first batch."""

    steps = 0

    def train_dataloader(self) -> DataLoader[Any]:
        batch = next(iter(super().train_dataloader()))
        return DataLoader(Repeated(batch, self.steps), batch_size=None, pin_memory=torch.cuda.is_available())


class TakingTurns(Callback):
    """Time ``vid fit`` and a plain loop in alternating turns of ``TURN`` steps."""

    turns: list[tuple[Time, Time]]
    """Times of each turn of ``vid fit`` and of the plain loop after it, of the last training."""

    started: Time = (0.0, 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: VideoModule) -> None:  # type: ignore[override]
        type(self).turns = []
        loader = trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
        self.plain = plain_loop(copy.deepcopy(pl_module), loader, trainer.gradient_clip_val)

    def on_train_batch_start(self, trainer: Trainer, pl_module: VideoModule, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        if batch_idx % TURN:
            return
        ended = now(pl_module.device)
        for _ in range(TURN):
            next(self.plain)
        begun = now(pl_module.device)
        if batch_idx:
            self.turns.append((since(self.started, ended), since(ended, begun)))
        self.started = begun


def plain_loop(module: VideoModule, loader: DataLoader[Any], clip: float | None) -> Iterator[None]:
    """Train the module's network in a plain PyTorch loop; yield after each step."""
    network = module.get_submodule("net")
    device = next(network.parameters()).device
    optimizer, schedule = module.optim.build(network.parameters(), len(loader))
    mean = torch.tensor(module.clip_spec.mean, device=device).reshape(3, 1, 1, 1)
    std = torch.tensor(module.clip_spec.std, device=device).reshape(3, 1, 1, 1)
    network.train()
    for batch in loader:
        rgb = batch["inputs"]["rgb"].to(device, non_blocking=True)
        target = batch["target"].to(device, non_blocking=True)
        logits = network((rgb.float() / 255 - mean) / std)
        loss = F.cross_entropy(logits, target, label_smoothing=module.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        schedule.step()
        yield


def now(device: torch.device) -> Time:
    """Return the time after all work of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter(), time.process_time()


def since(start: Time, end: Time) -> Time:
    """Return the difference in seconds per step."""
    return (end[0] - start[0]) / TURN, (end[1] - start[1]) / TURN


def measure(folder: Path, batch: int, frames: int, size: int, turns: int) -> list[tuple[Time, Time]]:
    """Run ``vid fit``; return the times of ``TakingTurns`` without the first turns."""
    # vid uses the classes of the imported module, not those of __main__.
    from overhead import HeldDigits, TakingTurns

    HeldDigits.steps = TURN * (WARM_UP + turns + 1)
    arguments = [
        *("fit", "--model", "movinet", "--data", "overhead.HeldDigits", "--data.root", str(folder / "data")),
        *("--model.clip", f'{{"frames": {frames}, "size": {size}}}', "--data.batch_size", str(batch)),
        *("--data.num_train", str(max(32, batch)), "--data.num_val", "8", "--data.num_test", "8"),
        *("--trainer.max_epochs", "1", "--trainer.callbacks+", "overhead.TakingTurns"),
        *("--trainer.logger.save_dir", str(folder / "runs")),
    ]
    if vid(arguments):
        raise SystemExit("vid fit failed")
    return TakingTurns.turns[WARM_UP:]


def spread(values: list[float], digits: int) -> str:
    """Format median (quartiles)."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=20, help="turns of each, per row")
    turns = parser.parse_args().turns
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores"
    print(f"MoViNet-A0 on {device}, {turns} turns of {TURN} steps each; median (quartiles)\n")
    print("| batch | clip | plain loop, ms a step | `vid fit`, ms a step | ratio | same, processor time |")
    print("| ---: | --- | --- | --- | --- | --- |", flush=True)
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        for batch, frames, size in SETTINGS:
            pairs = measure(Path(name), batch, frames, size, turns)
            cells = [spread([1000 * pair[part][0] for pair in pairs], 1) for part in (1, 0)]
            for kind in (0, 1):
                ratios = [fit[kind] / plain[kind] for fit, plain in pairs]
                cells.append(spread(ratios, 3))
                worst = max(worst, statistics.median(ratios) if kind == 0 else 0)
            print(f"| {batch} | {frames} × {size}² | {' | '.join(cells)} |", flush=True)
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
