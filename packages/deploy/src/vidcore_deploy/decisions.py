"""Decisions of a model that streams, picture by picture."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from vidcore.batch import Output
from vidcore.clip import ClipSpec
from vidcore.flops import macs_per_row
from vidcore.metrics import video_scores
from vidcore.prediction import named_boxes, top
from vidcore.streaming import State
from vidcore.task import Task
from vidcore_deploy.sources import Picture


class Stepping(Protocol):
    """A [`Step`][vidcore_deploy.step.Step] or [`StepEngine`][vidcore_deploy.step.StepEngine]."""

    clip_spec: ClipSpec
    task: Task

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """The state before the first frame."""

    def step(self, frames: Tensor, state: State) -> tuple[Output, State]:
        """Process a frame (1, 3, 1, H, W) uint8; return the output and the new state."""

    def costs(self) -> Mapping[str, int]:
        """Return the multiply-accumulates of one run of each component of ``Output.usage``."""


@torch.inference_mode()
def decisions(
    model: Stepping, pictures: Iterable[Picture], smooth: float = 0.0, reset: float = math.inf
) -> Iterator[tuple[dict[str, Any], Picture]]:
    """One row a picture, and the picture.

    Args:
        model: What decides.
        pictures: Cut to the size of the model; at each ``first`` one the state begins anew.
        smooth: Time in seconds over which scores are averaged, older ones weighing exponentially less; 0: not at all.
        reset: Seconds after which the state begins anew, as the means in it never forget.

    Yields:
        ``time`` in seconds from the beginning; ``frame``, its number; ``top``, classes and scores; ``smoothed``;
        ``detections``, if the model has them; ``gmacs`` of the step, if the model reports its usage; ``ms``, the
        duration of the step; ``dropped``, the number of pictures dropped so far.
    """
    size = (model.clip_spec.size, model.clip_spec.size)
    state: State = {}
    scores: Tensor | None = None
    begun = before = 0.0
    for number, picture in enumerate(pictures):
        if picture.first or picture.time - begun >= reset:
            state, begun = model.init_state(1, size), picture.time
            scores = None if picture.first else scores
        start = time.perf_counter()
        output, state = model.step(picture.frame[None, :, None], state)
        seconds = time.perf_counter() - start
        row: dict[str, Any] = {"time": round(picture.time, 3), "frame": number}
        if output.logits is not None:
            now = video_scores(output.logits, model.task)[0]
            if scores is None or not smooth:
                scores = now
            else:
                older = math.exp((before - picture.time) / smooth)
                weights = torch.tensor([1 - older, older], dtype=torch.float64)
                scores = video_scores(torch.stack([now, scores]), model.task, weights=weights)[0]
            row |= {"top": top(scores, model.task), "smoothed": bool(smooth)}
        before = picture.time
        if output.detections is not None:
            row["detections"] = [{**box, "frame": number} for box in named_boxes(output.detections[0], model.task)]
        if output.usage is not None:
            row["gmacs"] = round(float(macs_per_row(output.usage, model.costs(), 1)) / 1e9, 9)
        yield row | {"ms": round(1000 * seconds, 3), "dropped": picture.dropped}, picture
