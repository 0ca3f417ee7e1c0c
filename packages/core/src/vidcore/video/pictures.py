"""Assemble the visual modalities of a clip: frames, frame differences, and optical flow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from vidcore.clip import ClipSpec


class Pictures:
    """Frames and flow fields that a clip needs, and its modalities computed from them.

    At each time point, ``rgbdiff`` and ``flow`` have ``spec.stack`` steps between consecutive source frames, starting
    at the time point's own frame. Step i leads from frame i to frame i + 1. Beyond the end of the part the last step is
    repeated; a part of one frame has no motion.

    Args:
        indices: (T,) frames of the clip, from [`clip_indices`][vidcore.video.sampling.clip_indices].
        spec: Clip spec; defines the modalities and the stack.
        first: First frame of the part of the video that the clip is drawn from.
        last: Last frame of that part.
    """

    def __init__(self, indices: np.ndarray, spec: ClipSpec, first: int, last: int) -> None:
        self.indices, self.modalities, self.last = indices, spec.modalities, last
        self.stacks = np.clip(indices[:, None] + np.arange(spec.stack), first, max(first, last - 1))  # (T, stack)
        self.steps = np.unique(self.stacks)
        none = np.empty(0, np.int64)
        wanted = [indices] if "rgb" in spec.modalities else []
        if "rgbdiff" in spec.modalities:
            wanted += [self.steps, self._following()]
        self.frames = np.unique(np.concatenate([none, *wanted]))
        """Frames required by ``rgb`` and ``rgbdiff``, ascending, unique."""
        self.fields = self.steps if "flow" in spec.modalities else none
        """Steps whose optical flow is required, ascending, unique."""

    def inputs(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the modalities, each uint8 (C, T, H, W); C is 3 for rgb, 3 · stack for rgbdiff, 2 · stack for flow.

        Args:
            seen: Transformed ``frames``, (len(self.frames), 3, H, W) uint8, and ``fields``, (len(self.fields), 2, H, W)
                uint8.
        """
        made: dict[str, Tensor] = {}
        if "rgb" in self.modalities:
            made["rgb"] = seen["frames"][np.searchsorted(self.frames, self.indices)].transpose(0, 1)
        if "rgbdiff" in self.modalities:
            before, after = (
                seen["frames"][np.searchsorted(self.frames, side)] for side in (self.steps, self._following())
            )
            made["rgbdiff"] = self._stacked(difference(before, after))
        if "flow" in self.modalities:
            made["flow"] = self._stacked(seen["fields"])
        return made

    def _following(self) -> np.ndarray:
        return np.minimum(self.steps + 1, self.last)

    def _stacked(self, steps: Tensor) -> Tensor:
        """Rearrange (len(self.steps), C, H, W) to (stack · C, T, H, W): the channels of each step in order."""
        return steps[np.searchsorted(self.steps, self.stacks)].flatten(1, 2).transpose(0, 1)


def difference(before: Tensor, after: Tensor) -> Tensor:
    """Compute (after - before + 255) / 2, truncated; 127 is no motion (AdaMML, Panda et al. 2021; its published code).

    Args:
        before: uint8, any shape.
        after: uint8 of the same shape.
    """
    return (after.to(torch.int16) - before + 255).div_(2, rounding_mode="floor").to(torch.uint8)
