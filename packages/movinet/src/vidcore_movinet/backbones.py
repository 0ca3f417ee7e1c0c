"""MoViNet as an image backbone of the entry-point group ``vidcore.backbones``: each image is a clip of one frame."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from vidcore.backbones import Backbone
from vidcore.task import Task
from vidcore_movinet.module import MoViNetModule
from vidcore_movinet.variants import find_variant


class ImageMoViNet(nn.Module):
    """Base MoViNet up to its last convolution.

    Args:
        variant: Name of the variant in [`VARIANTS`][vidcore_movinet.VARIANTS].
        pretrained: Whether to load the weights released for Kinetics-600, which require images in [0, 1].
    """

    def __init__(self, variant: str, pretrained: bool) -> None:
        super().__init__()
        module = MoViNetModule(Task.numbered(600), variant)
        if pretrained:
            module.load_weights("k600")
        self.stem, self.layers, self.project = module.net.stem, module.net.layers, module.net.project

    def forward(self, images: Tensor) -> Tensor:
        """Compute feature maps (N, P, H / 32, W / 32), rounded up, of images (N, 3, H, W)."""
        return self.project(self.layers(self.stem(images.unsqueeze(2)))).squeeze(2)


def movinet(variant: str, pretrained: bool = False) -> Backbone:
    """Build the backbone of a variant; ``num_features`` is P, the channels of its last convolution."""
    return Backbone({"net": ImageMoViNet(variant, pretrained)}, find_variant(variant).project)


movinet_a0, movinet_a1, movinet_a2 = (partial(movinet, variant) for variant in ("a0", "a1", "a2"))
