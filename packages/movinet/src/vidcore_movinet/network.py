"""MoViNet for whole clips."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from vidcore.nn import check_clip, draw_weights, set_bn_momentum
from vidcore_movinet.layers import Bottleneck, conv_norm
from vidcore_movinet.variants import find_variant


class MoViNet(nn.Module):
    """MoViNet A0 to A5 or T0 for whole clips ("base": 3D convolutions that see past and future).

    Kondratyuk et al., CVPR 2021 (arXiv:2103.11511), as in the authors' released code. Any number of frames and any
    height and width work; the published accuracy belongs to those of :data:`~vidcore_movinet.variants.VARIANTS`.

    A new network's residual branches are multiplied by scalars that start at 0, so that it only passes on its skip
    connections until training (or loaded weights) opens them.

    Args:
        variant: ``t0``, ``a0`` to ``a5``.
        num_classes: Number of classes K.
        dropout: Probability before the classifier; None: the variant's own.
        stochastic_depth: Probability with which training leaves out the last layer's residual branch for a sample;
            falls linearly to the first layer's.
        bn_momentum: Weight of the newest batch in the running statistics of batch normalisation.

    Raises:
        UserError: An unknown variant.
    """

    def __init__(
        self,
        variant: str = "a0",
        num_classes: int = 600,
        dropout: float | None = None,
        stochastic_depth: float = 0.2,
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        spec = find_variant(variant)
        self.stem = conv_norm(3, spec.stem, (1, 3, 3), (1, 2, 2))

        depth = sum(len(block.expand) for block in spec.blocks)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = spec.stem
        for b, block in enumerate(spec.blocks):
            for i, (expand, kernel) in enumerate(zip(block.expand, block.kernels, strict=True)):
                drop = stochastic_depth * (len(layers) + 1) / depth
                stride = block.stride if i == 0 else 1
                layers[f"b{b}_l{i}"] = Bottleneck(width, expand, block.width, kernel, stride, drop)
                width = block.width
        self.layers = nn.Sequential(layers)

        self.project = conv_norm(width, spec.project)
        self.dense = nn.Linear(spec.project, spec.dense)
        self.activation = nn.SiLU()
        self.dropout = nn.Dropout(spec.dropout if dropout is None else dropout)
        self.classifier = nn.Linear(spec.dense, num_classes)

        set_bn_momentum(self, bn_momentum)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights: He's truncated normal; N(0, 0.01²) in the classifier; 0 for biases and residual scales."""
        draw_weights(self, 2)
        for module in self.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.scale)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, clip: Tensor) -> Tensor:
        """Classifies clips.

        Args:
            clip: (B, 3, T, H, W) RGB in [0, 1].

        Returns:
            (B, K) logits.

        Raises:
            UserError: Another rank or number of channels.
        """
        check_clip(clip, "MoViNet")
        x = self.stem(clip)  # (B, C, T, H/2, W/2), rounded up, as everywhere
        x = self.layers(x)  # (B, C, T, H/32, W/32)
        x = self.project(x)  # (B, P, T, H/32, W/32)
        return self.classify(x.mean((2, 3, 4)))

    def classify(self, features: Tensor) -> Tensor:
        """From features (B, P), averaged over time and space, to logits (B, K)."""
        return self.classifier(self.dropout(self.activation(self.dense(features))))
