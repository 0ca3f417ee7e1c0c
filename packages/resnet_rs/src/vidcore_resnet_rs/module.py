"""The LightningModule of 3D ResNet-RS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional as F

from vidcore.batch import Batch, Output
from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.flops import parameters
from vidcore.module import VideoModule
from vidcore.task import Task
from vidcore.training.optim import Stage
from vidcore.weights import other_classifier, read_weights
from vidcore_resnet_rs.network import ResNetRS3D
from vidcore_resnet_rs.variants import (
    LADDER,
    TEMPORAL_KERNELS,
    Gating,
    GatingPosition,
    PoolStride,
    ResNetRSConfig,
    StemVersion,
    macs,
)

CLIP = ClipSpec(frames=32, stride=2, size=224, short_side=256)


class ResNetRSModule(VideoModule):
    """3D ResNet-RS, trained from scratch, fine-tuned from ``weights``, or as a linear probe on them.

    Args:
        task: Task of the data.
        depth: See [`ResNetRSConfig`][vidcore_resnet_rs.ResNetRSConfig], as for all arguments up to ``checkpointing``.
        stem: ``v1`` or ``v0``.
        pool_temporal_stride: 1 or 2.
        se_ratio: Hidden channels of squeeze-excitation as a share of the output channels. 0: no squeeze-excitation.
        gating: ``last``, ``all`` or ``none``.
        gating_position: ``before_se`` or ``after_se``.
        temporal_kernels: Temporal kernel sizes of each stage.
        stochastic_depth: Probability of dropping a residual branch in the last stage.
        dropout: Dropout probability before the classifier.
        bn_momentum: Weight of the current batch in the running statistics. The official recipe uses 1 (statistics of
            the last batch only) together with a moving average of weights and statistics (``optim.ema``). Use 0.1 or
            less without the moving average.
        checkpointing: Recompute activations in the backward pass, for less memory and more time.
        channels_last: Keep weights in the channels-last memory format. Convolutions on a CPU always use it.
        compile: Compile the network with ``torch.compile`` when training or testing starts.
        linear_probe: Train only the classifier, on features scaled to length 1 (Qian et al., CVPR 2021).
        **kwargs: See [`vidcore.VideoModule`][vidcore.module.VideoModule]. ``weights`` can be a checkpoint of
            ``resnet_rs_cvrl``.

    Raises:
        OptionError: An option has an invalid value.
        UserError: The temporal strides do not divide the number of frames.
    """

    RANGES: ClassVar[dict[str, str]] = {
        "se_ratio": "[0, 1]",
        "stochastic_depth": "[0, 1]",
        "dropout": "[0, 1)",
        "bn_momentum": "(0, 1]",
    }

    def __init__(
        self,
        task: Task,
        depth: int = 50,
        stem: StemVersion = "v1",
        pool_temporal_stride: PoolStride = 1,
        se_ratio: float = 0.25,
        gating: Gating = "last",
        gating_position: GatingPosition = "before_se",
        temporal_kernels: Sequence[Sequence[int]] = TEMPORAL_KERNELS,
        stochastic_depth: float = 0.1,
        dropout: float = 0.5,
        bn_momentum: float = 0.1,
        checkpointing: bool = False,
        channels_last: bool = False,
        compile: bool = False,
        linear_probe: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(task, CLIP, **kwargs)
        check_frames(self.clip_spec, pool_temporal_stride)
        config = ResNetRSConfig(
            depth=depth, num_classes=self.task.num_classes, stem=stem, pool_temporal_stride=pool_temporal_stride,
            se_ratio=se_ratio, gating=gating, gating_position=gating_position, temporal_kernels=temporal_kernels,
            stochastic_depth=stochastic_depth, dropout=dropout, bn_momentum=bn_momentum, checkpointing=checkpointing,
        )  # fmt: skip
        self.net = ResNetRS3D(config=config)
        self.compile_network, self.linear_probe = compile, linear_probe
        if channels_last:
            self.net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, batch: Batch) -> Output:
        """Compute the logits of a batch of clips."""
        features: Tensor = self.net.features(batch["inputs"]["rgb"])
        return Output(logits=self.net.classify(F.normalize(features) if self.linear_probe else features))

    def setup(self, stage: str) -> None:
        """Compile the bottlenecks if ``compile`` is set; see ``ResNetRS3D.compile_bottlenecks``."""
        super().setup(stage)
        if self.compile_network:
            self.costs()  # first: MACs of compiled modules cannot be counted
            self.net.compile_bottlenecks()

    def stages(self) -> Sequence[Stage]:
        """Return one stage that trains the classifier for a linear probe; otherwise none."""
        return (Stage("linear probe", 1, self.optim, ("net.classifier.*",)),) if self.linear_probe else ()

    def load_weights(self, path: str | Path) -> list[str]:
        """Load weights; those of contrastive pre-training have no classifier.

        Args:
            path: See [`vidcore.VideoModule.load_weights`][vidcore.module.VideoModule.load_weights]; also a checkpoint
                of ``resnet_rs_cvrl``.

        Returns:
            Names of the parameters that keep their initial values.

        Raises:
            UserError: The file cannot be read, or holds the weights of another network.
        """
        tensors = read_weights(path)
        if not any(name.startswith("projection.") for name in tensors):
            return super().load_weights(path)
        ours = self.state_dict()
        classifier = {name: value for name, value in ours.items() if name.startswith("net.classifier.")}
        network = {name: value for name, value in tensors.items() if name.startswith("net.")}
        other_classifier(network | classifier, ours, self.task.num_classes, f"{path} does not fit this network")
        self.load_state_dict(network, strict=False)
        rank_zero_info(
            f"loaded weights of contrastive pre-training from {path}; the classifier keeps its initial values"
        )
        return sorted(classifier)

    def published(self) -> dict[str, float]:
        """Return the paper's top-1 accuracy on Kinetics-400 if network and clip are the paper's, at 224² or 256²."""
        config, clip = self.net.config, self.clip_spec
        paper = ResNetRSConfig(
            depth=config.depth, num_classes=self.reference_task.num_classes, stochastic_depth=config.stochastic_depth,
            dropout=config.dropout, bn_momentum=config.bn_momentum, checkpointing=config.checkpointing,
        )  # fmt: skip
        same_clip = replace(clip, size=CLIP.size, short_side=CLIP.short_side) == replace(CLIP, frames=clip.frames)
        if config != paper or self.linear_probe or not same_clip or clip.size not in (CLIP.size, 256):
            return {}
        top1 = {(step.depth, step.frames): step.top1 for step in LADDER}.get((config.depth, clip.frames))
        return {"top1": top1} if top1 else {}

    def family(self) -> list[dict[str, Any]]:
        """Return the paper's ladder with its cost for 400 classes and clips of 224²."""
        classes, size = self.reference_task.num_classes, CLIP.size
        return [
            {
                "depth": step.depth,
                "frames": step.frames,
                "parameters": parameters(_network(step.depth, classes)),
                "gmacs": macs(step.depth, step.frames, size, classes) / 1e9,
                "top1": step.top1,
            }
            for step in LADDER
        ]


def check_frames(spec: ClipSpec, pool_temporal_stride: int) -> None:
    """Check that the network's temporal strides divide the number of frames.

    Raises:
        UserError: They do not; the message names the divisor.
    """
    stride = 2 * pool_temporal_stride
    if spec.num_frames % stride:
        nearest = max(stride, spec.num_frames // stride * stride)
        raise UserError(
            f"number of frames per clip must be a multiple of {stride} (the temporal stride of 3D ResNet-RS), "
            f"got {spec.num_frames}; use e.g. {nearest}"
        )


def _network(depth: int, num_classes: int) -> ResNetRS3D:
    """Build the network with default options on the meta device."""
    with torch.device("meta"):
        return ResNetRS3D(depth, num_classes)
