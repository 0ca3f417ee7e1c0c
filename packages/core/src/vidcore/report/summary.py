"""The numbers behind a page: plain values, no trainer and no model."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from vidcore import plugins
from vidcore.metrics import MAIN_METRIC
from vidcore.report.examples import Example
from vidcore.task import Task


@dataclass(frozen=True)
class Component:
    """A costed part of the model."""

    name: str
    parameters: int
    gmacs: float
    """Of one run."""
    runs: float
    """A clip, on average over the evaluation."""


@dataclass
class Summary:
    """What a training or an evaluation came to."""

    run: str
    """The run's folder below the folder of all runs, such as ``movinet_ssv2/version_3``."""
    model: str
    data: str
    split: str
    """``val`` or ``test``: what :attr:`metrics`, :attr:`scores` and :attr:`examples` are of."""
    task: Task
    parameters: int
    metrics: Mapping[str, float]
    """By ``split/name``, fractions for accuracy; ``split/gmacs`` is there if it is known."""
    clips: int | None = None
    """Number of clips that :attr:`metrics` are of."""
    components: Sequence[Component] = ()
    history: Sequence[Mapping[str, float]] = ()
    """An entry an epoch: ``epoch`` from 1, ``train/loss``, and the validation's metrics."""
    scores: np.ndarray | None = None
    """(N, K), one row per video, see :func:`vidcore.metrics.video_scores`."""
    targets: np.ndarray | None = None
    """(N,) class indices, or (N, K) 0 and 1 for several labels."""
    examples: Sequence[Example] = ()
    config: str = ""
    """The run's configuration as YAML."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The metric that the task is judged by, as ``split/name``."""
        return f"{self.split}/{MAIN_METRIC[self.task.kind]}"

    @property
    def point(self) -> tuple[float, float] | None:
        """GMACs a video and accuracy, if both are known."""
        gmacs, accuracy = self.metrics.get(f"{self.split}/gmacs"), self.metrics.get(self.main)
        return None if gmacs is None or accuracy is None else (gmacs, accuracy)

    def as_dict(self) -> dict[str, Any]:
        """What other runs' pages and programs want to know."""
        return {
            "run": self.run,
            "model": self.model,
            "data": self.data,
            "classes": self.task.num_classes,
            "split": self.split,
            "main": self.main,
            "metrics": dict(self.metrics),
            "clips": self.clips,
            "parameters": self.parameters,
            "components": [vars(component) for component in self.components],
            "versions": dict(self.versions),
        }


def points(summary: Summary, runs: Path) -> dict[str, tuple[float, float]]:
    """GMACs and accuracy of this run, and of the runs beside it that were judged on the same split of the same data."""
    found: dict[str, tuple[float, float]] = {}
    ours = summary.as_dict()
    for path in sorted(runs.glob("*/*/report/summary.json")):
        try:
            theirs = json.loads(path.read_text())
            if all(theirs[key] == ours[key] for key in ("data", "classes", "main")):
                point = (theirs["metrics"][f"{summary.split}/gmacs"], theirs["metrics"][summary.main])
                if all(map(math.isfinite, point)):  # TypeError: null, which was not a number
                    found[theirs["run"]] = point
        except (OSError, ValueError, LookupError, TypeError):
            continue  # of another version, or being written
    if summary.point is not None:
        found[summary.run] = summary.point
    return found


def versions() -> dict[str, str]:
    """Python, the libraries that compute, vidcore and all installed plugins, with their versions."""
    found = {"python": platform.python_version()}
    for name in ("torch", "torchvision", "lightning", "vidcore"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    for group in plugins.GROUPS:
        found |= {claim.distribution: claim.version for claims in plugins.claims(group).values() for claim in claims}
    return found
