"""Architectures of MoViNet A0 to A5 and T0, and the configuration of a network.

Source: Kondratyuk et al., "MoViNets: Mobile Video Networks for Efficient Video Recognition", CVPR 2021
(arXiv:2103.11511), as in the authors' TensorFlow Model Garden code, to which the weights and the published figures
belong. Some widths differ from the paper's tables (A0's first layer expands to 24 channels, not 40).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from vidcore.clip import ClipSpec
from vidcore.errors import OptionError
from vidcore.nn import Kernel
from vidcore.ranges import check_choice, check_ranges

Head = Literal["swish", "hard_swish"]
"""Activation before the classifier of a stream network."""

SLOPE = 1 / 6
"""Slope of the hard sigmoid of squeeze-and-excitation in the official code."""

K13: Kernel = (1, 3, 3)
K15: Kernel = (1, 5, 5)
K33: Kernel = (3, 3, 3)
K53: Kernel = (5, 3, 3)


@dataclass(frozen=True)
class Block:
    """Block of the architecture: consecutive bottleneck layers with the same output width.

    Args:
        width: Output channels of each layer.
        expand: Expanded width of each layer: channels of its depthwise convolution.
        kernels: Depthwise kernel of each layer (time, height, width).
        stride: Spatial stride of the first layer; the other layers have stride 1. The temporal stride is always 1.

    Raises:
        ValueError: ``expand`` and ``kernels`` differ in length.
    """

    width: int
    expand: tuple[int, ...]
    kernels: tuple[Kernel, ...]
    stride: int = 2

    def __post_init__(self) -> None:
        if len(self.expand) != len(self.kernels):
            raise ValueError(
                f"expand and kernels must have one entry per layer, got {len(self.expand)} and {len(self.kernels)}"
            )


@dataclass(frozen=True)
class Variant:
    """Architecture with its clip and its published figures.

    Args:
        stem: Channels of the first convolution.
        blocks: The five blocks.
        project: P, channels of the last convolution.
        dense: Width of the classifier's hidden layer.
        frames: T, frames per clip.
        stride: Stride of the frames in a video of 25 Hz.
        size: Height and width of the crop in pixels.
        short_side: Short side in pixels to which frames are resized before the centre crop. None: not published.
        dropout: Dropout probability before the classifier.
        params: Number of parameters with 600 classes.
        gflops: Published GMACs per clip (called GFLOPs in the paper). None: not published.
        top1: Published top-1 accuracy in % on Kinetics-600, with one clip and one crop per video.
        stream_params: Number of parameters of the stream network with 600 classes.
        stream_top1: Published top-1 accuracy of the stream network.
        positional_encoding: Whether squeeze-and-excitation of the stream network has a positional encoding.
        stream_head: Activation before the classifier of the stream network in the authors' published configuration.
            Their code's default is swish.
    """

    stem: int
    blocks: tuple[Block, ...]
    project: int
    frames: int
    stride: int
    size: int
    short_side: int | None
    dropout: float
    params: int
    gflops: float | None
    top1: float
    stream_params: int
    stream_top1: float
    positional_encoding: bool = False
    stream_head: Head = "swish"
    dense: int = 2048

    @property
    def fps(self) -> float:
        """Frame rate of a clip in Hz."""
        return 25 / self.stride

    @property
    def clip_spec(self) -> ClipSpec:
        """Clip of the variant; its frame rate is in Hz and does not depend on the video's."""
        return ClipSpec(frames=self.frames, fps=self.fps, size=self.size, short_side=self.short_side)

    def layers(self) -> list[Layer]:
        """Return the bottleneck layers of all blocks in order."""
        layers: list[Layer] = []
        width = self.stem
        for b, block in enumerate(self.blocks):
            for i, (expand, kernel) in enumerate(zip(block.expand, block.kernels, strict=True)):
                stride = block.stride if i == 0 else 1
                layers.append(Layer(f"b{b}_l{i}", width, expand, block.width, kernel, stride))
                width = block.width
        return layers


@dataclass(frozen=True)
class Layer:
    """One bottleneck layer of an architecture.

    Args:
        name: Name of the layer, e.g. ``b1_l0`` for the first layer of the second block.
        in_channels: Channels of the input.
        expand: Channels of the depthwise convolution.
        out_channels: Channels of the output.
        kernel: Depthwise kernel (time, height, width).
        stride: Spatial stride.
    """

    name: str
    in_channels: int
    expand: int
    out_channels: int
    kernel: Kernel
    stride: int


VARIANTS: dict[str, Variant] = {
    "t0": Variant(
        stem=8,
        blocks=(
            Block(8, (16,), (K15,)),
            Block(32, (72, 72), (K33, K15)),
            Block(56, (112, 112, 112), (K53, K15, K33)),
            Block(56, (184, 184, 184, 184), (K53, K15, K33, K33), stride=1),
            Block(104, (344, 344, 344, 344), (K53, K15, K15, K33)),
        ),
        project=240,
        dense=1024,
        frames=25,
        stride=10,
        size=160,
        short_side=None,
        dropout=0.2,
        params=1_727_414,
        gflops=None,
        top1=68.40,
        stream_params=2_368_958,
        stream_top1=67.17,
        stream_head="hard_swish",
    ),
    "a0": Variant(
        stem=8,
        blocks=(
            Block(8, (24,), (K15,)),
            Block(32, (80, 80, 80), 3 * (K33,)),
            Block(56, (184, 112, 184), (K53, K33, K33)),
            Block(56, (184, 184, 184, 184), (K53, K33, K33, K33), stride=1),
            Block(104, (384, 280, 280, 344), (K53, K15, K15, K15)),
        ),
        project=480,
        frames=50,
        stride=5,
        size=172,
        short_side=192,
        dropout=0.2,
        params=3_111_799,
        gflops=2.7,
        top1=72.28,
        stream_params=3_748_031,
        stream_top1=72.05,
    ),
    "a1": Variant(
        stem=16,
        blocks=(
            Block(16, (40, 40), (K15, K33)),
            Block(40, (96, 120, 96, 96), 4 * (K33,)),
            Block(64, (216, 128, 216, 168, 216), (K53, *4 * (K33,))),
            Block(64, (216, 216, 216, 128, 128, 216), (K53, K33, K33, K33, K15, K33), stride=1),
            Block(136, (456, 360, 360, 360, 456, 456, 544), (K53, *4 * (K15,), K33, K13)),
        ),
        project=600,
        frames=50,
        stride=5,
        size=172,
        short_side=192,
        dropout=0.5,
        params=4_690_296,
        gflops=6.0,
        top1=76.69,
        stream_params=6_447_352,
        stream_top1=76.45,
        stream_head="hard_swish",
    ),
    "a2": Variant(
        stem=16,
        blocks=(
            Block(16, (40, 40, 64), (K15, K33, K33)),
            Block(40, (96, 120, 96, 96, 120), 5 * (K33,)),
            Block(72, (240, 160, 240, 192, 240), (K53, *4 * (K33,))),
            Block(72, (240, 240, 240, 240, 144, 240), (K53, K33, K33, K33, K15, K33), stride=1),
            Block(144, (480, 384, 384, 480, 480, 480, 576), (K53, *4 * (K15,), K33, K13)),
        ),
        project=640,
        frames=50,
        stride=5,
        size=224,
        short_side=256,
        dropout=0.5,
        params=5_249_562,
        gflops=10,
        top1=78.62,
        stream_params=7_326_962,
        stream_top1=78.4,
    ),
    "a3": Variant(
        stem=16,
        blocks=(
            Block(16, (40, 40, 64, 40), (K15, K33, K33, K33)),
            Block(48, (112, 144, 112, 112, 144, 144), (K33, K33, K33, K15, K33, K33)),
            Block(80, (240, 152, 240, 192, 240), (K53, *4 * (K33,))),
            Block(88, (264, 264, 264, 264, 160, 264, 264, 264), (K53, *3 * (K33,), K15, *3 * (K33,)), stride=1),
            Block(
                168,
                (560, 448, 448, 560, 560, 560, 448, 448, 560, 672),
                (K53, *4 * (K15,), K33, K15, K15, K33, K13),
            ),
        ),
        project=744,
        frames=120,
        stride=2,
        size=256,
        short_side=288,
        dropout=0.5,
        params=7_397_545,
        gflops=57,
        top1=81.79,
        stream_params=10_986_618,
        stream_top1=80.09,
        positional_encoding=True,
    ),
    "a4": Variant(
        stem=24,
        blocks=(
            Block(24, (64, 64, 96, 64, 96, 64), (K15, *5 * (K33,))),
            Block(56, (168, 168, 136, 136, 168, 168, 168, 136, 136), (*7 * (K33,), K15, K33)),
            Block(96, (320, 160, 320, 192, 320, 160, 320, 256, 320), (K53, *8 * (K33,))),
            Block(
                96,
                (320, 320, 320, 320, 192, 320, 320, 192, 320, 320),
                (K53, *3 * (K33,), K15, *5 * (K33,)),
                stride=1,
            ),
            Block(
                192,
                (640, 512, 512, 640, 640, 640, 512, 512, 640, 768, 640, 640, 768),
                (K53, *4 * (K15,), K33, *5 * (K15,), K33, K33),
            ),
        ),
        project=856,
        frames=80,
        stride=3,
        size=290,
        short_side=320,
        dropout=0.5,
        params=11_349_463,
        gflops=110,
        top1=83.48,
        stream_params=18_136_182,
        stream_top1=81.49,
        positional_encoding=True,
        stream_head="hard_swish",
    ),
    "a5": Variant(
        stem=24,
        blocks=(
            Block(24, (64, 64, 96, 64, 96, 64), (K15, K15, *4 * (K33,))),
            Block(64, (192, 152, 152, 152, 192, 192, 192, 152, 152, 192, 192), (K53, *10 * (K33,))),
            Block(112, (376, 224, 376, 376, 296, 376, 224, 376, 376, 296, 376, 376, 376), (K53, *12 * (K33,))),
            Block(
                120,
                (376, 376, 376, 376, 224, 376, 376, 224, 376, 376, 376),
                (K53, *3 * (K33,), K15, *6 * (K33,)),
                stride=1,
            ),
            Block(
                224,
                (744, 744, 600, 600, 744, 744, 744, 896, 600, 600, 896, 744, 744, 896, 600, 600, 744, 744),
                (K53, K33, *4 * (K15,), K33, *5 * (K15,), K33, *4 * (K15,), K33),
            ),
        ),
        project=992,
        frames=120,
        stride=2,
        size=320,
        short_side=368,
        dropout=0.5,
        params=18_650_523,
        gflops=280,
        top1=84.27,
        stream_params=31_495_934,
        stream_top1=82.37,
        positional_encoding=True,
    ),
}
"""Variants by name."""


NETWORK_RANGES = {
    "dropout": "[0, 1)",
    "stochastic_depth": "[0, 1]",
    "bn_momentum": "(0, 1]",
    "gate_slope": "(0, inf)",
}
"""Allowed interval of each numeric option of a network."""


def find_variant(name: str) -> Variant:
    """Return a variant by its name.

    Raises:
        OptionError: The name is unknown.
    """
    check_choice("variant", name, VARIANTS)
    return VARIANTS[name]


@dataclass(frozen=True)
class MoViNetConfig:
    """Everything that determines a MoViNet network.

    Args:
        variant: Name of the variant in [`VARIANTS`][vidcore_movinet.VARIANTS]: ``t0``, or ``a0`` to ``a5``.
        num_classes: K, number of classes.
        stream: Whether the network is a stream network: causal, and able to process a video frame by frame.
        dropout: Dropout probability before the classifier. None: the variant's.
        stochastic_depth: Probability of dropping the residual branch of the last layer in training. It decreases
            linearly to the first layer.
        bn_momentum: Momentum of batch normalisation: weight of the current batch in the running statistics.
        checkpointing: Whether training recomputes the activations of each layer in the backward pass, for less memory
            and more time.
        factorised: For stream networks. True: (2+1)D convolutions, and gates that also depend on the current frame, as
            released since July 2021. False: 3D convolutions, and gates that depend on the cumulative average only, as
            released before.
        gate_slope: For stream networks. Slope of the hard sigmoid ``clip(slope · x + 0.5, 0, 1)`` of
            squeeze-and-excitation: 1/6 in the official code, 0.2 in the released weights.
        head: For stream networks. Activation before the classifier: ``swish`` (the official default) or
            ``hard_swish``, as in the rest of the network. The authors' configurations have
            ``Variant.stream_head``. Base networks use swish throughout.

    Raises:
        OptionError: The variant or ``head`` is unknown, ``gate_slope`` is not positive, or one of the two is
            set for a base network.
    """

    variant: str = "a0"
    num_classes: int = 600
    stream: bool = False
    dropout: float | None = None
    stochastic_depth: float = 0.2
    bn_momentum: float = 0.01
    checkpointing: bool = False
    factorised: bool = True
    gate_slope: float = SLOPE
    head: Head = "swish"

    @property
    def spec(self) -> Variant:
        """Architecture of the variant."""
        return find_variant(self.variant)

    def __post_init__(self) -> None:
        find_variant(self.variant)
        check_choice("head", self.head, get_args(Head))
        check_ranges({"gate_slope": self.gate_slope}, NETWORK_RANGES)
        if not self.stream and (self.gate_slope, self.head) != (SLOPE, "swish"):
            raise OptionError(
                "head and gate_slope apply to stream networks only (a base network has swish and sigmoid throughout): "
                "add --model.stream true or remove them"
            )
