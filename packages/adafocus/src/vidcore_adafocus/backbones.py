"""The two feature networks, each around a backbone of the entry-point group ``vidcore.backbones``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidcore.backbones import Backbone, in_pieces


class Glance(nn.Module):
    """Glance network: global feature maps of whole frames.

    Args:
        backbone: Network from images to feature maps.
        size: Height and width in pixels to which images are resized. None: not resized.
        frames: Frames per clip between which the backbone shifts channels; 0 without temporal shift.
    """

    def __init__(self, backbone: Backbone, size: int | None, frames: int) -> None:
        super().__init__()
        self.backbone, self.size, self.frames = backbone, size, frames
        self.num_features = backbone.num_features

    def forward(self, images: Tensor) -> Tensor:
        """Compute feature maps (N, C, h, w) of images (N, 3, H, W)."""
        if self.size and images.shape[2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return in_pieces(self.backbone, images.contiguous(memory_format=torch.channels_last), self.frames)


class Focus(nn.Module):
    """Focus network: local features of windows; see ``Glance`` for the arguments."""

    def __init__(self, backbone: Backbone, frames: int) -> None:
        super().__init__()
        self.backbone, self.frames = backbone, frames
        self.num_features = backbone.num_features

    def forward(self, windows: Tensor) -> Tensor:
        """Compute features (N, C) of windows (N, 3, P, P)."""
        return in_pieces(self.backbone, windows, self.frames).mean((2, 3))
