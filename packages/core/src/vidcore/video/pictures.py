"""What the visual modalities of a clip are made of: frames, their differences, and fields of optical flow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from vidcore.clip import ClipSpec


class Pictures:
    """One clip: which frames and fields it needs, and its modalities once it has them.

    A time point of ``rgbdiff`` and ``flow`` is ``spec.stack`` steps from one source frame to the next, the first of
    them from the time point's own frame. Beyond the end of the stretch the last step is repeated; a stretch of one
    frame stands still. Step i leads from frame i to frame i + 1.

    Args:
        indices: (T,) the clip's frames, from :func:`~vidcore.video.sampling.clip_indices`.
        spec: Gives the modalities and the stack.
        first: The first frame of the stretch of video that the clip is of.
        last: Its last frame.
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
        """The frames that ``rgb`` and ``rgbdiff`` need, ascending, each once."""
        self.fields = self.steps if "flow" in spec.modalities else none
        """The steps whose optical flow is needed, ascending, each once."""

    def inputs(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The modalities, each uint8 (C, T, H, W); C is 3 for rgb, 3 · stack for rgbdiff and 2 · stack for flow.

        Args:
            seen: What a transform made of ``frames``, (len(self.frames), 3, H, W) uint8, and of ``fields``,
                (len(self.fields), 2, H, W) uint8.
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
        """(len(self.steps), C, H, W) to (stack · C, T, H, W): each step's channels, one step after the other."""
        return steps[np.searchsorted(self.steps, self.stacks)].flatten(1, 2).transpose(0, 1)


def difference(before: Tensor, after: Tensor) -> Tensor:
    """(after - before + 255) / 2, truncated: 127 where nothing moves (AdaMML, Panda et al. 2021; its published code).

    Args:
        before: uint8, any shape.
        after: uint8 of the same shape.
    """
    return (after.to(torch.int16) - before + 255).div_(2, rounding_mode="floor").to(torch.uint8)
