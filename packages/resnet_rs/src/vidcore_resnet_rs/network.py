"""3D ResNet-RS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch._dynamo
from torch import Tensor, nn

from vidcore.errors import OptionError
from vidcore.nn import SameMaxPool3d, check_clip, checkpointed, draw_weights, set_bn_momentum
from vidcore.ranges import check_choice
from vidcore_resnet_rs.layers import Bottleneck, GatingPosition, SelfGating, Stem
from vidcore_resnet_rs.variants import TEMPORAL_KERNELS, WIDTHS, find_blocks


class ResNetRS3D(nn.Module):
    """3D ResNet-RS, and with other options the plain 3D ResNet that it is measured against.

    Du et al., 2021 (arXiv:2109.01696), as in the authors' released code; where its text and that code differ, in which
    bottlenecks have self-gating and on which side of squeeze-excitation, the code is the default. Any number of frames
    and any height and width work.

    Args:
        depth: 50, 101, 152, 200, 270, 300 or 350.
        num_classes: Number of classes K; 0: no classifier, the logits are the features.
        stem: ``v1`` (ResNet-D) or ``v0`` (one convolution of 5×7×7).
        pool_temporal_stride: 1, or 2 to halve time once more behind the stem, for about half of the MACs.
        se_ratio: Hidden channels of squeeze-excitation as a share of a bottleneck's output; 0: none.
        gating: Which bottlenecks have self-gating: the ``last`` of each stage, ``all`` or ``none``.
        gating_position: ``before_se`` or ``after_se``.
        temporal_kernels: Of each of the four stages, repeated over its bottlenecks.
        stochastic_depth: Probability with which training leaves out a residual branch of a sample in the last stage;
            4/5, 3/5 and 2/5 of it in those before.
        dropout: Probability before the classifier.
        bn_momentum: Weight of the newest batch in the running statistics of batch normalisation.
        checkpointing: Keep only the input of each bottleneck for the backward pass, and compute the rest again.

    Raises:
        UserError: An option with a value that there is not.
    """

    def __init__(
        self,
        depth: int = 50,
        num_classes: int = 400,
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
    ) -> None:
        super().__init__()
        options: tuple[tuple[str, object, tuple[object, ...]], ...] = (
            ("stem", stem, ("v0", "v1")),
            ("pool_temporal_stride", pool_temporal_stride, (1, 2)),
            ("gating", gating, ("last", "all", "none")),
            ("gating_position", gating_position, ("before_se", "after_se")),
        )
        for name, value, known in options:
            check_choice(name, value, known)
        odd = all(stage and all(kernel > 0 and kernel % 2 for kernel in stage) for stage in temporal_kernels)
        if len(temporal_kernels) != 4 or not odd:
            raise OptionError(
                f"temporal_kernels must be 4 lists of odd numbers, one for each stage, got {temporal_kernels}"
            )
        self.checkpointing = checkpointing
        self.stem = Stem(stem)
        self.pool = SameMaxPool3d((pool_temporal_stride == 2, True, True))
        self.stages = nn.ModuleList()
        channels = WIDTHS[0]
        for stage, (blocks, width, kernels) in enumerate(
            zip(find_blocks(depth), WIDTHS, temporal_kernels, strict=True)
        ):
            bottlenecks = nn.ModuleList()
            for block in range(blocks):
                bottlenecks.append(
                    Bottleneck(
                        channels,
                        width,
                        temporal_kernel=kernels[block % len(kernels)],
                        stride=2 if stage and not block else 1,
                        se_ratio=se_ratio,
                        gating=gating == "all" or (gating == "last" and block == blocks - 1),
                        gating_position=gating_position,
                        drop=stochastic_depth * (stage + 2) / 5,
                    )
                )
                channels = 4 * width
            self.stages.append(bottlenecks)
        self.dropout = nn.Dropout(dropout)
        self.num_features = channels
        self.classifier = nn.Linear(channels, num_classes) if num_classes else nn.Identity()
        set_bn_momentum(self, bn_momentum)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights: LeCun's truncated normal; N(0, 0.01²) in gates; U(-0.05, 0.05) in the classifier."""
        draw_weights(self, 1)
        for module in self.modules():
            if isinstance(module, SelfGating):
                nn.init.trunc_normal_(module.linear.weight, std=0.01, a=-0.02, b=0.02)
        if isinstance(self.classifier, nn.Linear):
            nn.init.uniform_(self.classifier.weight, -0.05, 0.05)

    def forward(self, clip: Tensor) -> Tensor:
        """Classifies clips.

        Args:
            clip: (B, 3, T, H, W) RGB in [0, 1].

        Returns:
            (B, K) logits.

        Raises:
            UserError: Another rank or number of channels.
        """
        return self.classify(self.features(clip))

    def features(self, clip: Tensor) -> Tensor:
        """From clips (B, 3, T, H, W) to features (B, 2048), averaged over time and space."""
        check_clip(clip, "ResNet-RS")
        x = self.pool(self.stem(clip))  # (B, 64, T/2, H/4, W/4), rounded up, as everywhere
        for bottleneck in self.bottlenecks():
            x = checkpointed(bottleneck, x) if self.checkpointing and self.training else bottleneck(x)
        return x.mean((2, 3, 4))  # of (B, 2048, T/2, H/32, W/32)

    def classify(self, features: Tensor) -> Tensor:
        """From features (B, 2048) to logits (B, K)."""
        return self.classifier(self.dropout(features))

    def bottlenecks(self) -> Iterator[Bottleneck]:
        """From the first stage to the last."""
        for stage in self.stages:
            yield from stage  # type: ignore[misc]

    def compile_bottlenecks(self) -> None:
        """Compiles each bottleneck (``torch.compile``), in place; those of one kind share what is compiled."""
        # A network has twelve kinds, in training and in evaluation; above the limit they would run uncompiled.
        torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
        for bottleneck in self.bottlenecks():
            bottleneck.compile(dynamic=False)
