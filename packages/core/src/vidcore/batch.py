"""What a model gets, and what it returns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from torch import Tensor


class Batch(TypedDict, total=False):
    """A collated batch of B rows. A row is one view of one video; views of a video share its id.

    ``inputs["rgb"]`` is (B, 3, T, H, W), T = S·F frames in time order: uint8 when it leaves a data loader, float32
    normalised by the clip spec's mean and std when it reaches ``forward``. So are ``inputs["rgbdiff"]``, of 3·stack
    channels, and ``inputs["flow"]``, of 2·stack, x and y in turns; see [`vidcore.video.normalise`][].
    ``inputs["audio"]`` is (B, S, N) float32 in [-1, 1]; where the clip spec wants a spectrogram, it is (B, S,
    frequencies, columns) when it reaches ``forward``.
    """

    inputs: dict[str, Tensor]
    """By modality."""
    target: Any
    """single_label: (B,) int64, or (B, K) float once mixed; multi_label: (B, K) float of 0 and 1; detection: a list of
    B dicts with ``boxes`` (N, 4) float x1, y1, x2, y2 in pixels of the crop, ``labels`` (N,) int64 and ``frames`` (N,)
    int64, the frame of the clip that each box is in, and what else the data says of each box, such as ``tracks``.
    Absent where nothing is labelled."""
    ids: list[str]
    """Which video each row comes from."""
    present: dict[str, Tensor]
    """By modality (B,) bool: whether the video has it at all (a video without sound gets silence and False here)."""
    errors: dict[str, str]
    """Samples that could not be read and are not in this batch: path to reason."""


@dataclass
class Output:
    """What ``forward`` returns for a batch of B rows.

    Args:
        logits: (B, K), before softmax or sigmoid; None for a pure detector.
        step_logits: (B, T, K) where a prediction exists after each step; the last equals ``logits``.
        detections: A list of B dicts as in [`Batch`][vidcore.batch.Batch]'s ``target``, with ``scores`` (N,) in [0, 1]
            added.
        losses: Loss terms that the model computes itself in training (a detector's, auxiliary heads'), scalars by name;
            their sum is added to the task's loss.
        usage: By component name (B,): how often the component really ran for that row. None: each ran once.
        trace: What can be drawn, by name, e.g. ``windows`` (B, T, 4) in pixels of the crop.
        decisions: By component name (B, S) bool: whether an adaptive model ran the component for each of the S parts
            (segments, frames) of that row. ``usage`` of a component that it does not name is the number of True.
    """

    logits: Tensor | None = None
    step_logits: Tensor | None = None
    detections: list[dict[str, Tensor]] | None = None
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    usage: Mapping[str, Tensor] | None = None
    trace: Mapping[str, Any] = field(default_factory=dict)
    decisions: Mapping[str, Tensor] | None = None

    def __post_init__(self) -> None:
        if self.decisions:
            self.usage = {**{name: ran.sum(1) for name, ran in self.decisions.items()}, **(self.usage or {})}


def id_hash(video_id: str) -> int:
    """A video's id as an int64, the same in every process, since processes exchange tensors only."""
    return int.from_bytes(
        hashlib.blake2b(video_id.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big", signed=True
    )
