"""Frames that look at their neighbours at no cost."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TemporalShift(nn.Module):
    """Moves a share of the channels one frame on, and as many one frame back; zeros come in at the ends of a clip.

    Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019 (arXiv:1811.08383).

    Args:
        frames: T, the frames of a clip.
        share: One in so many channels is moved each way.
    """

    def __init__(self, frames: int, share: int = 8) -> None:
        super().__init__()
        self.frames, self.share = frames, share

    def forward(self, x: Tensor) -> Tensor:
        """From the frames of B clips one after the other (B·T, C, H, W) to the same."""
        clips, moved = x.unflatten(0, (-1, self.frames)), x.shape[1] // self.share
        later, sooner, still = clips.split([moved, moved, x.shape[1] - 2 * moved], dim=2)
        # The first channels get what the next frame has, as in the authors' code.
        pads = [0] * 6
        later, sooner = F.pad(later[:, 1:], [*pads, 0, 1]), F.pad(sooner[:, :-1], [*pads, 1, 0])
        return torch.cat([later, sooner, still], dim=2).flatten(0, 1)
