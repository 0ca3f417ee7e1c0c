"""Collect examples and component usage of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vidcore.batch import Batch, Output
from vidcore.flops import macs_per_row
from vidcore.metrics import per_frame, probabilities, video_scores
from vidcore.module import VideoModule
from vidcore.redaction import redacted
from vidcore.task import Task
from vidcore.video.render import frames_of

EXAMPLES = 8
"""Number of videos shown."""

SURE = 0.3
"""Minimum score of a box that is drawn."""


@dataclass
class Example:
    """First view of a video, and the prediction from all of its views."""

    id: str
    frames: Tensor
    """(T, 3, H, W) uint8."""
    predicted: str
    true: str
    right: bool | None
    """Whether the prediction is correct; None for tasks without a yes-or-no answer."""
    gmacs: float
    fps: float = 8.0
    """Frame rate to show the frames at, in Hz."""
    trace: Mapping[str, Any] = field(default_factory=dict)


class Collector:
    """Collects examples from the batches of one evaluation.

    Args:
        module: The evaluated model.
        batches: Number of batches; examples are spread over them.
        show: Whether this process keeps examples.
    """

    def __init__(self, module: VideoModule, batches: float, show: bool) -> None:
        self.module = module
        self.examples: list[Example] = []
        self._rows = 0
        self._runs: dict[str, Tensor] = {name: torch.zeros((), device=module.device) for name in module.costs()}
        self._every = max(1, int(batches) // EXAMPLES) if batches < float("inf") else 1
        self._each = -(-EXAMPLES // max(1, int(min(batches, EXAMPLES)))) if show else 0

    def add(self, output: Output, batch: Batch, index: int) -> None:
        """Add batch number ``index`` and the model's output for it."""
        rows, usage = len(batch["ids"]), output.usage or {}
        self._rows += rows
        for name, runs in self._runs.items():
            self._runs[name] = runs + (usage[name].sum() if name in usage else rows)
        if self._each and index % self._every == 0 and "rgb" in batch["inputs"]:
            videos = list(dict.fromkeys(batch["ids"]))
            for video in videos[:: max(1, len(videos) // self._each)][: self._each]:
                if len(self.examples) < EXAMPLES:
                    self.examples.append(example(self.module, output, batch, video))

    def totals(self) -> tuple[int, dict[str, float]]:
        """Return the number of rows, and the number of runs of each component."""
        return self._rows, {name: float(runs) for name, runs in self._runs.items()}


def example(module: VideoModule, output: Output, batch: Batch, video: str) -> Example:
    """Return one video of a batch as an example, on the CPU."""
    rows = [row for row, video_id in enumerate(batch["ids"]) if video_id == video]
    first, task = rows[0], module.task
    trace = {name: _on_cpu(value[first]) for name, value in output.trace.items()}
    if output.decisions:
        trace["decisions"] = {name: ran[first].tolist() for name, ran in output.decisions.items()}
    truth = batch["target"][first]
    if output.logits is not None:
        ranked = video_scores(output.logits[rows].detach(), task)[0]
        scores = probabilities(ranked, task)
        chosen = [int(ranked.argmax())] if task.kind == "single_label" else (scores >= 0.5).nonzero()[:, 0].tolist()
        predicted = (
            ", ".join(f"{task.classes[index]} {100 * float(scores[index]):.0f} %" for index in chosen) or "nothing"
        )
        if scores.isnan().any():
            predicted, chosen = "NaN", []
        held = [int(truth)] if task.kind == "single_label" else truth.nonzero()[:, 0].tolist()
        true, right = ", ".join(task.classes[index] for index in held) or "nothing", held == chosen
    else:
        assert output.detections is not None
        trace["boxes"] = _boxes(output.detections[first], batch["inputs"]["rgb"].shape[2], task)
        predicted = f"{sum(len(frame['boxes']) for frame in trace['boxes'])} boxes"
        true, right = f"{len(truth['boxes'])} boxes", None
    macs = macs_per_row(output.usage, module.costs(), len(batch["ids"]))
    frames = frames_of(batch["inputs"]["rgb"][first], module.clip_spec)
    gmacs = float(macs[rows].sum()) / 1e9
    return Example(redacted(video), frames, predicted, true, right, gmacs, module.clip_spec.fps or 8.0, trace)


def _boxes(found: Mapping[str, Tensor], frames: int, task: Task) -> list[dict[str, Any]]:
    sure = {name: value[found["scores"] >= SURE].cpu() for name, value in found.items()}
    return [
        {**frame, "labels": [task.classes[label] for label in frame["labels"].tolist()]}
        for frame in per_frame(sure, frames)
    ]


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value
