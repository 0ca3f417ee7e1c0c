"""Decisions of a model that streams, picture by picture."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from vidcore.clip import ClipSpec
from vidcore.metrics import video_scores
from vidcore.prediction import top
from vidcore.streaming import State
from vidcore.task import Task
from vidcore_deploy.sources import Picture


class Stepping(Protocol):
    """A :class:`~vidcore_deploy.step.Step` or :class:`~vidcore_deploy.step.StepEngine`."""

    clip_spec: ClipSpec
    task: Task

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """The state before the first frame."""

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (1, K) after a frame (1, 3, 1, H, W) uint8, and the new state."""


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
        ``time`` in seconds from the beginning, ``frame`` its number, ``top`` classes and scores, ``smoothed``, ``ms``
        that the step took, ``dropped`` pictures so far.
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
        logits, state = model.step(picture.frame[None, :, None], state)
        seconds = time.perf_counter() - start
        now = video_scores(logits, model.task)[0]
        if scores is None or not smooth:
            scores = now
        else:
            older = math.exp((before - picture.time) / smooth)
            weights = torch.tensor([1 - older, older], dtype=torch.float64)
            scores = video_scores(torch.stack([now, scores]), model.task, weights=weights)[0]
        before = picture.time
        row = {
            "time": round(picture.time, 3),
            "frame": number,
            "top": top(scores, model.task),
            "smoothed": bool(smooth),
            "ms": round(1000 * seconds, 3),
            "dropped": picture.dropped,
        }
        yield row, picture
