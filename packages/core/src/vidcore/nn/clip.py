"""Input checks."""

from __future__ import annotations

from torch import Tensor

from vidcore.errors import UserError


def check_clip(clip: Tensor, network: str) -> None:
    """Check that the input is a batch of RGB clips (B, 3, T, H, W).

    Raises:
        UserError: It has another number of dimensions or channels; the message names ``network`` and the shape.
    """
    if clip.ndim != 5 or clip.shape[1] != 3:
        raise UserError(f"{network} expects clips of shape (B, 3, T, H, W), got {tuple(clip.shape)}")
