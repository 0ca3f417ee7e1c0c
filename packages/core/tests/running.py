"""Small plugins that are installed, and the command lines that train them; shared by the tests of whole runs."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

PLUGIN = """
PLUGIN_API = 1
from small_models import BrightestSpot, LookOrListen, MeanColour
from colours import BrightSquare, Colours
"""


@pytest.fixture
def installed(fake_plugins, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))
    models = {"mean": "MeanColour", "spot": "BrightestSpot", "listen": "LookOrListen"}
    data = {"colours": "Colours", "square": "BrightSquare"}
    entry_points = {
        "vidcore.models": {name: f"vid_small:{cls}" for name, cls in models.items()},
        "vidcore.data": {name: f"vid_small:{cls}" for name, cls in data.items()},
    }
    fake_plugins.add("vidcore-small", entry_points, {"vid_small": PLUGIN})
    monkeypatch.setenv("VID_PLUGINS", "vidcore-small,vidcore-deploy")


def fit(*arguments, model="mean", data="colours", epochs=1):
    """A training of three steps an epoch, in the current folder."""
    pair = ["--model", model, "--data", data, "--data.root", "clips"]
    return ["fit", *pair, "--trainer.max_epochs", str(epochs), *COMMON, *arguments]


COMMON = ["--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1", "--trainer.num_sanity_val_steps", "0"]


def run(version, pair="mean_colours"):
    return Path("runs", pair, f"version_{version}")


def curve(folder, metric):
    """(step, value) of every row of ``metrics.csv`` that has the metric."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [(int(row["step"]), float(row[metric])) for row in csv.DictReader(file) if row.get(metric)]


def process(_: object) -> int:
    """The number of the process that calls it; processes that are spawned can import it."""
    return os.getpid()
