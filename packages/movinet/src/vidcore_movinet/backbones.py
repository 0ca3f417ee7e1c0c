"""MoViNet as a network for images, one frame a clip: by name in methods that are put together from such networks."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from vidcore.backbones import Backbone
from vidcore.task import Task
from vidcore_movinet.module import MoViNetModule


class ImageMoViNet(nn.Module):
    """A base MoViNet up to its last convolution.

    Args:
        variant: A name of :data:`~vidcore_movinet.variants.VARIANTS`.
        pretrained: With the weights released for Kinetics-600, which want frames in [0, 1].
    """

    def __init__(self, variant: str, pretrained: bool) -> None:
        super().__init__()
        module = MoViNetModule(Task.numbered(600), variant)
        if pretrained:
            module.load_weights("k600")
        self.stem, self.layers, self.project = module.net.stem, module.net.layers, module.net.project

    def forward(self, images: Tensor) -> Tensor:
        """From (N, 3, H, W) to (N, P, H / 32, W / 32), rounded up."""
        return self.project(self.layers(self.stem(images.unsqueeze(2)))).squeeze(2)


def movinet(variant: str, pretrained: bool = False) -> Backbone:
    """A backbone whose ``num_features`` are those of the variant's last convolution."""
    net = ImageMoViNet(variant, pretrained)
    return Backbone({"net": net}, net.project.conv.out_channels)  # type: ignore[union-attr]


movinet_a0, movinet_a1, movinet_a2 = (partial(movinet, variant) for variant in ("a0", "a1", "a2"))
