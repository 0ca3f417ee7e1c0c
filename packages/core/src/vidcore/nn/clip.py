"""What a network can be given."""

from __future__ import annotations

from torch import Tensor

from vidcore.errors import UserError


def check_clip(clip: Tensor, network: str) -> None:
    """Refuses what is not a batch of RGB clips (B, 3, T, H, W).

    Raises:
        UserError: Another rank or number of channels; names the ``network`` and the shape.
    """
    if clip.ndim != 5 or clip.shape[1] != 3:
        raise UserError(f"{network} takes clips of shape (B, 3, T, H, W), not {tuple(clip.shape)}")
