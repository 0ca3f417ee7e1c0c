"""Two processes do what one does, each sample once."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidcore.cli import main

TESTS = Path(__file__).parent


def notes(folder):
    return [[json.loads(line) for line in path.open()] for path in sorted(folder.glob("*.jsonl"))]


def read_by(rank, stage, epoch=0):
    steps = [note for note in rank if note.get("stage") == stage and note["epoch"] == epoch]
    return [video for note in steps for video in note["ids"]], len(steps)


def metrics(runs):
    (path,) = runs.rglob("metrics.csv")
    rows = list(csv.DictReader(path.open()))
    return {name: float(value) for row in rows for name, value in row.items() if value}


def run(folder, launcher, command, *arguments):
    """Runs ``vid`` in a process of its own and returns what the processes noted, and the metrics."""
    (folder / "notes").mkdir(parents=True)
    done = subprocess.run(
        [*launcher, "-m", "vidcore.cli", *options(folder, command), *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done, notes(folder / "notes"), metrics(folder / "runs")


def options(folder, command):
    return [
        *(command, "--data", "distributed_models.Shared", "--data.root", str(folder.parent / "clips")),
        *("--data.notes", str(folder / "notes"), "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", "--trainer.logger.save_dir", str(folder / "runs")),
    ]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.max_epochs", "3")
    model = ("--model", "distributed_models.Watched", "--model.optim.ema", "0.9")
    return folder, *run(folder / "fit", [sys.executable], "fit", *model, *two)


def test_fit_shares_the_samples_and_keeps_one_model(fitted):
    _, done, ranks, logged = fitted
    assert done.returncode == 0, done.stderr
    assert len(ranks) == 2
    for epoch in range(3):  # the last one in the second stage, where more is trained
        parts = [read_by(rank, "train", epoch) for rank in ranks]
        assert [steps for _, steps in parts] == [3, 3]
        assert len(set(parts[0][0]) | set(parts[1][0])) == 12
    # One process has nothing to validate on, and waits for no one.
    assert sorted(len(read_by(rank, "validate")[0]) for rank in ranks) == [0, 1]
    assert 0 < logged["val/loss"] < 10
    assert logged["train/unreadable"] == 0
    weights = [note["weights"] for rank in ranks for note in rank if "weights" in note]
    assert weights[0] == weights[1]


def test_test_under_torchrun_measures_what_one_process_measures(fitted, monkeypatch):
    folder, *_ = fitted
    (checkpoint,) = (folder / "fit").rglob("last.ckpt")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    given = ("--ckpt_path", str(checkpoint), "--model", "distributed_models.Watched", "--data.views", "3")
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    done, ranks, several = run(folder / "two", torchrun, "test", *given, *two)
    assert done.returncode == 1, done.stderr  # a file is broken
    parts = [read_by(rank, "test") for rank in ranks]
    assert [steps for _, steps in parts] == [2, 2]
    assert len(parts[0][0] + parts[1][0]) == len(set(parts[0][0] + parts[1][0])) == 7
    broken = str(folder / "clips" / "broken_0.mp4")
    assert [note["unreadable"] for rank in ranks for note in rank if "unreadable" in note] == [[broken], [broken]]
    listed = [row["path"] for path in (folder / "two").rglob("unreadable_*.csv") for row in csv.DictReader(path.open())]
    assert listed == [broken]

    monkeypatch.syspath_prepend(str(TESTS))
    (folder / "one" / "notes").mkdir(parents=True)
    assert main([*options(folder / "one", "test"), *given]) == 1
    one = metrics(folder / "one" / "runs")
    for name in ("test/top1", "test/mean_class", "test/gmacs"):
        assert several[name] == pytest.approx(one[name], abs=1e-7), name
