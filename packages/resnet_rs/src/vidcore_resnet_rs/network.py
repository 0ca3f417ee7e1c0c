"""The 3D ResNet-RS network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn

from vidcore.nn import SameMaxPool3d, check_clip, checkpointed, draw_weights, set_bn_momentum
from vidcore_resnet_rs.layers import Bottleneck, SelfGating, Stem
from vidcore_resnet_rs.variants import WIDTHS, ResNetRSConfig


class ResNetRS3D(nn.Module):
    """3D ResNet-RS (Du et al., 2021, arXiv:2109.01696); with other options the plain 3D ResNet that it improves on.

    The network follows the authors' released code. Where the paper's text differs from that code (which bottlenecks
    have self-gating, and on which side of squeeze-excitation), the code's choice is the default. Clips can have any
    number of frames and any height and width.

    Args:
        *args: Fields of [`ResNetRSConfig`][vidcore_resnet_rs.ResNetRSConfig] in order, instead of ``config``.
        config: Configuration of the network. Default: built from the other arguments.
        **options: Fields of [`ResNetRSConfig`][vidcore_resnet_rs.ResNetRSConfig] by name, instead of ``config``.

    Raises:
        OptionError: An option has an invalid value.

    Example:
        >>> net = ResNetRS3D(depth=50, num_classes=3)
        >>> net(torch.zeros(1, 3, 4, 64, 64)).shape
        torch.Size([1, 3])
    """

    def __init__(self, *args: Any, config: ResNetRSConfig | None = None, **options: Any) -> None:
        super().__init__()
        self.config = config = config or ResNetRSConfig(*args, **options)
        self.checkpointing = config.checkpointing
        self.stem = Stem(config.stem)
        self.pool = SameMaxPool3d((config.pool_temporal_stride == 2, True, True))
        self.stages = nn.ModuleList(self._stage(number) for number in range(len(WIDTHS)))
        self.dropout = nn.Dropout(config.dropout)
        self.num_features = 4 * WIDTHS[-1]
        """Channels of the features: 2048."""
        self.classifier = nn.Linear(self.num_features, config.num_classes) if config.num_classes else nn.Identity()
        set_bn_momentum(self, config.bn_momentum)
        self.reset_parameters()

    def _stage(self, number: int) -> nn.ModuleList:
        config, width = self.config, WIDTHS[number]
        channels = 4 * WIDTHS[number - 1] if number else WIDTHS[0]
        blocks, kernels = config.blocks[number], config.temporal_kernels[number]
        return nn.ModuleList(
            Bottleneck(
                4 * width if block else channels,
                width,
                temporal_kernel=kernels[block % len(kernels)],
                stride=2 if number and not block else 1,
                se_ratio=config.se_ratio,
                gating=config.gating == "all" or (config.gating == "last" and block == blocks - 1),
                gating_position=config.gating_position,
                drop=config.stochastic_depth * (number + 2) / 5,
            )
            for block in range(blocks)
        )

    def reset_parameters(self) -> None:
        """Initialise the weights.

        LeCun's truncated normal distribution; N(0, 0.01²) for the weights of self-gating, U(-0.05, 0.05) for the
        classifier's.
        """
        draw_weights(self, 1)
        for module in self.modules():
            if isinstance(module, SelfGating):
                nn.init.trunc_normal_(module.linear.weight, std=0.01, a=-0.02, b=0.02)
        if isinstance(self.classifier, nn.Linear):
            nn.init.uniform_(self.classifier.weight, -0.05, 0.05)

    def forward(self, clip: Tensor) -> Tensor:
        """Classify clips.

        Args:
            clip: (B, 3, T, H, W) float, RGB in [0, 1].

        Returns:
            (B, K) logits; (B, 2048) features if ``num_classes`` is 0.

        Raises:
            UserError: ``clip`` has another number of dimensions or channels.
        """
        return self.classify(self.features(clip))

    def features(self, clip: Tensor) -> Tensor:
        """Compute features (B, 2048) of clips (B, 3, T, H, W), averaged over time and space."""
        check_clip(clip, "ResNet-RS")
        x = self.pool(self.stem(clip))  # (B, 64, T/2, H/4, W/4); all sizes are rounded up
        for bottleneck in self.bottlenecks():
            x = checkpointed(bottleneck, x) if self.checkpointing and self.training else bottleneck(x)
        return x.mean((2, 3, 4))  # of (B, 2048, T/2, H/32, W/32)

    def classify(self, features: Tensor) -> Tensor:
        """Compute logits (B, K) from features (B, 2048)."""
        return self.classifier(self.dropout(features))

    def bottlenecks(self) -> Iterator[Bottleneck]:
        """Iterate over the bottlenecks in the order of the forward pass."""
        for stage in self.stages:
            yield from stage  # type: ignore[misc]

    def compile_bottlenecks(self) -> None:
        """Compile each bottleneck in place with ``torch.compile``; bottlenecks of one kind share the compiled code."""
        # A network has twelve kinds of bottlenecks for training and evaluation. Those beyond the limit would run
        # uncompiled.
        torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
        for bottleneck in self.bottlenecks():
            bottleneck.compile(dynamic=False)
