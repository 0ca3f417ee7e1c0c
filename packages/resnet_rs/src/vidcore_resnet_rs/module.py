"""3D ResNet-RS as a plugin of vidcore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional as F

from vidcore.batch import Batch, Output
from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.flops import parameters
from vidcore.module import VideoModule
from vidcore.optim import Stage
from vidcore.task import Task
from vidcore.weights import other_classifier, read_weights
from vidcore_resnet_rs.layers import GatingPosition
from vidcore_resnet_rs.network import ResNetRS3D
from vidcore_resnet_rs.variants import LADDER, TEMPORAL_KERNELS, macs

CLIP = ClipSpec(frames=32, stride=2, size=224, short_side=256)


class ResNetRSModule(VideoModule):
    """3D ResNet-RS, trained from scratch, from ``weights``, or as a linear probe of them.

    Args:
        task: What is predicted.
        depth: See :class:`~vidcore_resnet_rs.network.ResNetRS3D`, as for all that follow up to ``checkpointing``.
        stem: ``v1`` or ``v0``.
        pool_temporal_stride: 1 or 2.
        se_ratio: 0: no squeeze-excitation.
        gating: ``last``, ``all`` or ``none``.
        gating_position: ``before_se`` or ``after_se``.
        temporal_kernels: Of each stage.
        stochastic_depth: In the last stage.
        dropout: Before the classifier.
        bn_momentum: The official recipe has 1, statistics of the last batch only, which the moving average of the
            weights (``optim.ema``) then averages with them; without it evaluation needs 0.1 or less.
        checkpointing: Less memory, more time.
        channels_last: Keeps weights with the channels last in memory; on a CPU the convolutions always do.
        compile: Compiles the network (``torch.compile``) when training or testing begins.
        linear_probe: Only the classifier trains, on features of length 1 (Qian et al., CVPR 2021).
        **kwargs: See :class:`vidcore.VideoModule`. ``weights`` may be what ``resnet_rs_cvrl`` trained.

    Raises:
        OptionError: A value outside its range or its choices.
        UserError: A clip whose frames the temporal strides do not divide.
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
        stem: Literal["v0", "v1"] = "v1",
        pool_temporal_stride: Literal[1, 2] = 1,
        se_ratio: float = 0.25,
        gating: Literal["last", "all", "none"] = "last",
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
        self.net = ResNetRS3D(
            depth,
            self.task.num_classes,
            stem,
            pool_temporal_stride,
            se_ratio,
            gating,
            gating_position,
            temporal_kernels,
            stochastic_depth,
            dropout,
            bn_momentum,
            checkpointing,
        )
        self.depth, self.compile_network, self.linear_probe = depth, compile, linear_probe
        if channels_last:
            self.net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, batch: Batch) -> Output:
        """Logits of whole clips."""
        features: Tensor = self.net.features(batch["inputs"]["rgb"])
        return Output(logits=self.net.classify(F.normalize(features) if self.linear_probe else features))

    def setup(self, stage: str) -> None:
        """Compiles the bottlenecks, one by one: there are few kinds of them in a deep network."""
        super().setup(stage)
        if self.compile_network:
            self.costs()  # what is compiled cannot be counted
            self.net.compile_bottlenecks()

    def stages(self) -> Sequence[Stage]:
        """One in which the classifier trains, for a linear probe."""
        return (Stage("linear probe", 1, self.optim, ("net.classifier.*",)),) if self.linear_probe else ()

    def load_weights(self, path: str | Path) -> list[str]:
        """Loads weights as any model does, or those of a contrastive pre-training, which have no classifier.

        Returns:
            Names of the parameters that are as initialised.

        Raises:
            UserError: The file is unreadable, or belongs to another network.
        """
        theirs = read_weights(path)
        if not any(name.startswith("projection.") for name in theirs):
            return super().load_weights(path)
        ours = self.state_dict()
        classifier = {name: value for name, value in ours.items() if name.startswith("net.classifier.")}
        network = {name: value for name, value in theirs.items() if name.startswith("net.")}
        other_classifier(network | classifier, ours, self.task.num_classes, f"{path} does not fit this network")
        self.load_state_dict(network, strict=False)
        rank_zero_info(f"weights from {path}, pre-trained by contrast; the classifier is as initialised")
        return sorted(classifier)

    def published(self) -> dict[str, float]:
        """The paper's top-1 accuracy on Kinetics-400, where this is one of its models and its clip, of 224² or 256²."""
        spec, options = (
            self.clip_spec,
            {"pool_temporal_stride": 1, "gating_position": "before_se", "linear_probe": False},
        )
        found = [step for step in LADDER if (step.depth, step.frames) == (self.depth, spec.frames)]
        if (
            not found
            or replace(spec, size=CLIP.size, short_side=CLIP.short_side) != replace(CLIP, frames=spec.frames)
            or spec.size not in (CLIP.size, 256)
            or any(self.hparams[name] != value for name, value in options.items())
            or _shapes(self.net) != _shapes(_network(self.depth, self.reference_task.num_classes))
        ):
            return {}
        return {"top1": found[0].top1}

    def family(self) -> list[dict[str, Any]]:
        """The paper's models in the order of their cost, with 400 classes and clips of 224²."""
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
    """Refuses a clip whose frames the network's temporal strides do not divide.

    Raises:
        UserError: Says what divides them.
    """
    stride = 2 * pool_temporal_stride
    if spec.num_frames % stride:
        nearest = max(stride, spec.num_frames // stride * stride)
        raise UserError(
            f"clip of {spec.num_frames} frames: 3D ResNet-RS takes each {stride} frames together, "
            f"so their number must be a multiple of {stride}, e.g. {nearest}"
        )


def _network(depth: int, num_classes: int) -> ResNetRS3D:
    """The network with its default options, without memory for its weights."""
    with torch.device("meta"):
        return ResNetRS3D(depth, num_classes)


def _shapes(net: ResNetRS3D) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in net.state_dict().items()}
