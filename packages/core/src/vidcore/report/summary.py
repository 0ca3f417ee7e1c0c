"""Content of a report page: plain values, independent of trainer and model."""

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
    """Component of the model and its cost."""

    name: str
    parameters: int
    gmacs: float
    """GMACs of one run."""
    runs: float
    """Mean number of runs per clip over the evaluation."""


@dataclass
class Summary:
    """Summary of a training or an evaluation."""

    run: str
    """Path of the run below the folder of all runs, such as ``movinet_ssv2/version_3``."""
    model: str
    data: str
    split: str
    """Split of the metrics, scores and examples: ``val`` or ``test``."""
    task: Task
    parameters: int
    metrics: Mapping[str, float]
    """Metrics as ``split/name``; accuracy as fractions; ``split/gmacs`` if known."""
    clips: int | None = None
    """Number of clips that the metrics are computed from."""
    components: Sequence[Component] = ()
    history: Sequence[Mapping[str, float]] = ()
    """One entry per epoch: ``epoch`` from 1, ``train/loss``, and validation metrics."""
    scores: np.ndarray | None = None
    """(N, K), one row per video, see ``vidcore.metrics.video_scores``."""
    targets: np.ndarray | None = None
    """(N,) class indices, or (N, K) 0 and 1 for multi-label tasks."""
    examples: Sequence[Example] = ()
    config: str = ""
    """Configuration of the run as YAML."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """Main metric of the task, as ``split/name``."""
        return f"{self.split}/{MAIN_METRIC[self.task.kind]}"

    @property
    def point(self) -> tuple[float, float] | None:
        """GMACs per video and main metric, if both are known."""
        gmacs, accuracy = self.metrics.get(f"{self.split}/gmacs"), self.metrics.get(self.main)
        return None if gmacs is None or accuracy is None else (gmacs, accuracy)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``summary.json``, which other runs' pages read."""
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
    """Return GMACs and accuracy of this run and of neighbouring runs evaluated on the same split of the same data."""
    found: dict[str, tuple[float, float]] = {}
    ours = summary.as_dict()
    for path in sorted(runs.glob("*/*/report/summary.json")):
        try:
            theirs = json.loads(path.read_text())
            if all(theirs[key] == ours[key] for key in ("data", "classes", "main")):
                point = (theirs["metrics"][f"{summary.split}/gmacs"], theirs["metrics"][summary.main])
                if all(map(math.isfinite, point)):  # raises TypeError for null, i.e. NaN
                    found[theirs["run"]] = point
        except (OSError, ValueError, LookupError, TypeError):
            continue  # written by another version, or incomplete
    if summary.point is not None:
        found[summary.run] = summary.point
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python, the main libraries, vidcore and all installed plugins."""
    found = {"python": platform.python_version()}
    for name in ("torch", "torchvision", "lightning", "vidcore"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    for group in plugins.GROUPS:
        found |= {claim.distribution: claim.version for claims in plugins.claims(group).values() for claim in claims}
    return found
