"""Models that process a video frame by frame."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from vidcore.batch import Output

State = dict[str, Tensor]


@runtime_checkable
class Streaming(Protocol):
    """Model that processes a video in pieces.

    The state is an argument and a result of [`step`][vidcore.streaming.Streaming.step]; the model itself keeps none.
    """

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """Return the state before the first frame, for frames of ``size`` (height, width)."""

    def step(self, frames: Tensor, state: State) -> tuple[Output, State]:
        """Process the next frames of each stream.

        Args:
            frames: (B, 3, t, H, W).
            state: From [`init_state`][vidcore.streaming.Streaming.init_state] or the previous step. It is not changed.

        Returns:
            The output and the new state. ``logits`` (B, K) are those after the last frame, ``trace`` is of these
            frames, and ``usage`` counts the component runs of this step; None: the compute of a step is unknown.
        """


def take_step(model: Any, frames: Tensor, state: State) -> tuple[Output, State]:
    """Call ``model.step`` and return its output and the new state.

    A ``step`` that returns the logits (B, K) instead of an [`Output`][vidcore.batch.Output] still works, with a
    ``DeprecationWarning``.
    """
    output, state = model.step(frames, state)
    if isinstance(output, Tensor):
        text = f"{type(model).__name__}.step returns a tensor; it must return (Output(logits=...), state)"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        output = Output(logits=output)
    return output, state


@torch.no_grad()
def stream(model: Any, clip: Tensor, chunks: Sequence[int]) -> Tensor:
    """Process ``clip`` (B, 3, T, H, W) in chunks of the given lengths, which must add up to T.

    Args:
        model: A [`Streaming`][vidcore.streaming.Streaming] model, or a network whose ``step`` returns logits instead of
            an output.
        clip: (B, 3, T, H, W).
        chunks: Number of frames of each chunk.

    Returns:
        (B, len(chunks), K), the logits after each chunk. The last must equal those of the whole clip.
    """
    if sum(chunks) != clip.shape[2]:
        raise ValueError(f"chunks {tuple(chunks)} do not add up to the clip's {clip.shape[2]} frames")
    state = model.init_state(clip.shape[0], (clip.shape[3], clip.shape[4]))
    logits = []
    for frames in clip.split(list(chunks), dim=2):
        output, state = model.step(frames, state)
        answer = output.logits if isinstance(output, Output) else output
        if answer is None:
            raise ValueError(f"{type(model).__name__}.step returned no logits")
        logits.append(answer)
    return torch.stack(logits, dim=1)
