"""Window positions in pixels, and cropping windows out of frames."""

from __future__ import annotations

import torch
from torch import Tensor


def corners(positions: Tensor, size: tuple[int, int], patch: int, whole: bool) -> Tensor:
    """Convert window positions to the upper left corners of the windows.

    Args:
        positions: (..., 2) y and x in [0, 1], as shares of the range of possible corners.
        size: Height and width of the frame in pixels.
        patch: P, side length of the window in pixels.
        whole: Whether to round corners down to whole pixels.

    Returns:
        (..., 2) y and x in pixels, from 0 to H - P and W - P.
    """
    y, x = positions.unbind(-1)
    corner = torch.stack([y * (size[0] - patch), x * (size[1] - patch)], -1)
    # 96 / 6 in float32 can be slightly below 16.
    return torch.floor(corner + 1e-3) if whole else corner


def crop_windows(images: Tensor, corner: Tensor, patch: int) -> Tensor:
    """Crop one window per image, with bilinear interpolation at fractional corners.

    At unit scale every pixel of a window has the same fractional offset, so two linear interpolations between shifted
    slices are enough. The result is differentiable with respect to ``corner``.

    Args:
        images: (N, C, H, W).
        corner: (N, 2) y and x in pixels, from 0 to H - P and W - P.
        patch: P, side length of the window in pixels.

    Returns:
        (N, C, P, P).
    """
    base = corner.detach().floor()
    fraction = (corner - base).to(images.dtype)[:, :, None, None, None]
    offsets = torch.arange(patch + 1, device=images.device)
    # At the last corner the fraction is 0, so the clamped extra row and column have no weight.
    rows = (base[:, 0, None].long() + offsets).clamp(max=images.shape[2] - 1)
    columns = (base[:, 1, None].long() + offsets).clamp(max=images.shape[3] - 1)
    numbers = torch.arange(len(images), device=images.device)
    # Separated index tensors put the indexed dimensions first: (N, P + 1, P + 1, C).
    window = images[numbers[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    window = torch.lerp(window[:, :, :-1], window[:, :, 1:], fraction[:, 0])
    return torch.lerp(window[..., :-1], window[..., 1:], fraction[:, 1])


def boxes_of(corner: Tensor, patch: int, mask: Tensor | None = None) -> Tensor:
    """Convert corners (B, T, 2) to boxes (B, T, 4) as x1, y1, x2, y2; zeros where ``mask`` (B, T) is False."""
    upper_left = corner.flip(-1)
    boxes = torch.cat([upper_left, upper_left + patch], -1)
    return boxes if mask is None else boxes * mask[..., None]
