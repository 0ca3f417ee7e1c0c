"""Models that take a video frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

State = dict[str, Tensor]


@runtime_checkable
class Streaming(Protocol):
    """What can stream: its state is an explicit argument and result, never hidden in the module."""

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """The state before the first frame, for frames of ``size`` (height, width)."""

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Takes the next ``frames`` (B, 3, t, H, W); gives the logits (B, K) after the last one, and the new state."""


@torch.no_grad()
def stream(model: Streaming, clip: Tensor, chunks: Sequence[int]) -> Tensor:
    """Feeds ``clip`` (B, 3, T, H, W) in chunks of the given lengths, which add up to T.

    Returns:
        (B, len(chunks), K): the logits after each chunk. The last must equal the whole clip's.
    """
    if sum(chunks) != clip.shape[2]:
        raise ValueError(f"chunks {tuple(chunks)} do not add up to the clip's {clip.shape[2]} frames")
    state = model.init_state(clip.shape[0], (clip.shape[3], clip.shape[4]))
    logits = []
    for frames in clip.split(list(chunks), dim=2):
        step_logits, state = model.step(frames, state)
        logits.append(step_logits)
    return torch.stack(logits, dim=1)
