"""Networks for images, by name: what methods are put together from.

A plugin of the group ``vidcore.backbones`` is a function ``(pretrained: bool) -> Backbone``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck

from vidcore import plugins
from vidcore.errors import UserError
from vidcore.nn.temporal_shift import TemporalShift


class Backbone(nn.Sequential):
    """From images (N, 3, H, W), normalised with ImageNet's mean and std, to maps (N, C, h, w).

    Args:
        layers: By name, one after the other.
        num_features: C.
    """

    num_features: int

    def __init__(self, layers: Mapping[str, nn.Module], num_features: int) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.num_features = num_features

    def map_size(self, size: int, images: int = 1) -> tuple[int, int]:
        """Height and width of the maps of so many images of ``size``²: of a clip's, where they shift."""
        values: dict[str, Tensor] = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        empty = {name: torch.empty_like(value, device="meta") for name, value in values.items()}
        # Two clips: normalisation refuses, in training, to see a single value a channel.
        maps = torch.func.functional_call(self, empty, torch.empty(2 * images, 3, size, size, device="meta"))
        height, width = maps.shape[2:]
        return height, width


def build_backbone(name: str, pretrained: bool = False, frames: int = 0) -> Backbone:
    """The backbone of that name.

    Args:
        name: As ``vid list`` shows it.
        pretrained: With the weights that were trained on ImageNet; downloaded unless they are there.
        frames: Frames of a clip between which residual branches shift channels (TSM); 0: none.

    Raises:
        PluginError: None has that name.
        UserError: The weights cannot be had, or nobody knows where to shift in it.
    """
    try:
        backbone: Backbone = plugins.load("vidcore.backbones", name)(pretrained)
    except OSError as error:  # urllib's are such
        raise UserError(
            f"the ImageNet weights of {name} cannot be downloaded: {error}; with pretrained false it begins without"
        ) from error
    if frames and not _shift(backbone, frames):
        raise UserError(f"backbone {name} has no residual blocks that a temporal shift is known for")
    return backbone


def folded(backbone: Backbone) -> nn.Module:
    """A copy in eval mode, with normalisation in the weights of those convolutions that torch.fx can follow."""
    from torch.fx.experimental.optimization import fuse

    net = copy.deepcopy(backbone).eval()
    try:
        return fuse(net)
    except Exception:  # of whatever kind, since anybody's code is followed here: unfolded it computes the same
        return net


PIECE = 300_000
"""Pixels that go through at once on a CPU, about: MobileNet-V2's and ResNet-50's activations of so many take 29 MB."""


def in_pieces(backbone: nn.Module, images: Tensor, frames: int = 0) -> Tensor:
    """A backbone's maps of images (N, 3, H, W); evaluated on a CPU, a few images at a time.

    Memory above 32 MB is given back by glibc each time and got again page by page, and fits no cache.

    Args:
        backbone: From images to maps.
        images: (N, 3, H, W).
        frames: Of a clip between which it shifts, as for [`build_backbone`][vidcore.backbones.build_backbone]: they go
            through together.
    """
    if images.device.type != "cpu" or backbone.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return backbone(images)
    clips = images.unflatten(0, (-1, max(1, frames)))
    pieces = clips.chunk(max(1, math.ceil(clips[:, :, 0].numel() / PIECE)))
    return torch.cat([backbone(piece.flatten(0, 1)) for piece in pieces])


def _shift(net: nn.Module, frames: int) -> int:
    """Puts a temporal shift at the beginning of each residual branch; how many there are."""
    count = 0
    for block in net.modules():
        if isinstance(block, (Bottleneck, BasicBlock)):
            block.conv1 = nn.Sequential(TemporalShift(frames), block.conv1)  # type: ignore[assignment]
        elif isinstance(block, InvertedResidual) and block.use_res_connect:
            block.conv = nn.Sequential(TemporalShift(frames), *block.conv)
        else:
            continue
        count += 1
    return count


def mobilenet_v2(pretrained: bool = False) -> Backbone:
    """MobileNet-V2 of width 1 (arXiv:1801.04381), with the last convolution of one pixel."""
    net = torchvision.models.mobilenet_v2(weights="IMAGENET1K_V1" if pretrained else None)
    return Backbone({"features": net.features}, net.last_channel)


def resnet18(pretrained: bool = False) -> Backbone:
    """ResNet-18 (arXiv:1512.03385)."""
    return _resnet("resnet18", 512, pretrained)


def resnet50(pretrained: bool = False) -> Backbone:
    """ResNet-50 with the stride in the 3×3 convolutions (arXiv:1512.03385)."""
    return _resnet("resnet50", 2048, pretrained)


def _resnet(name: str, num_features: int, pretrained: bool) -> Backbone:
    net = torchvision.models.get_model(name, weights="IMAGENET1K_V1" if pretrained else None)
    return Backbone({key: layer for key, layer in net.named_children() if key not in ("avgpool", "fc")}, num_features)
