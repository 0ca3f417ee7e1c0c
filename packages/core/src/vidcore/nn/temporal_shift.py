"""Temporal shift module (TSM)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TemporalShift(nn.Module):
    """Shift some channels one frame forward and as many one frame back; the ends of a clip are filled with zeros.

    Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019 (arXiv:1811.08383).

    Args:
        frames: T, number of frames per clip.
        share: One in ``share`` channels is shifted in each direction. Default: 8.
    """

    def __init__(self, frames: int, share: int = 8) -> None:
        super().__init__()
        self.frames, self.share = frames, share

    def forward(self, x: Tensor) -> Tensor:
        """Shift channels of the consecutive frames of B clips (B·T, C, H, W)."""
        clips, moved = x.unflatten(0, (-1, self.frames)), x.shape[1] // self.share
        later, sooner, still = clips.split([moved, moved, x.shape[1] - 2 * moved], dim=2)
        # The first channels take the values of the next frame, as in the authors' code.
        pads = [0] * 6
        later, sooner = F.pad(later[:, 1:], [*pads, 0, 1]), F.pad(sooner[:, :-1], [*pads, 1, 0])
        return torch.cat([later, sooner, still], dim=2).flatten(0, 1)
