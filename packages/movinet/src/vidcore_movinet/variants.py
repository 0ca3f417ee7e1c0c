"""The architectures of MoViNet A0 to A5 and T0, as released.

Source: Kondratyuk et al., "MoViNets: Mobile Video Networks for Efficient Video Recognition", CVPR 2021
(arXiv:2103.11511), in the form of the authors' TensorFlow Model Garden code, which weights and published figures belong
to. It differs from the paper's tables in some widths (A0's first layer expands to 24 channels, not 40).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidcore.clip import ClipSpec
from vidcore.nn import Kernel
from vidcore.ranges import check_choice

Head = Literal["swish", "hard_swish"]
"""Activation before the classifier of a stream network."""

K13: Kernel = (1, 3, 3)
K15: Kernel = (1, 5, 5)
K33: Kernel = (3, 3, 3)
K53: Kernel = (5, 3, 3)


@dataclass(frozen=True)
class Block:
    """A group of inverted bottlenecks of one output width.

    Args:
        width: Output channels of each layer.
        expand: Channels between expansion and projection, one number a layer.
        kernels: Depthwise kernels (time, height, width), one a layer.
        stride: Spatial stride of the first layer; all others, and time, have 1.

    Raises:
        ValueError: Unlike numbers of expand widths and kernels.
    """

    width: int
    expand: tuple[int, ...]
    kernels: tuple[Kernel, ...]
    stride: int = 2

    def __post_init__(self) -> None:
        if len(self.expand) != len(self.kernels):
            raise ValueError(f"{len(self.expand)} expand widths, but {len(self.kernels)} kernels")


@dataclass(frozen=True)
class Variant:
    """An architecture, the clip it was made for, and what was published of it.

    Args:
        stem: Channels of the first convolution.
        blocks: The five groups of layers.
        project: Channels of the last convolution.
        dense: Width of the hidden layer of the classifier.
        frames: Frames of a clip T.
        stride: Their distance in frames of a video of 25 Hz.
        size: Height and width in pixels of the crop.
        short_side: Short side in pixels before the centre crop of evaluation; None where not published.
        dropout: Before the classifier, in training.
        params: Parameters with 600 classes.
        gflops: Published billions of multiply-accumulates of a clip (called GFLOPs there); None where not published.
        top1: Published top-1 accuracy in % on Kinetics-600, one clip, one crop.
        stream_params: Of the stream network.
        stream_top1: Of the stream network.
        positional_encoding: Whether the stream network's gates see the frame's number.
        stream_head: Activation before the classifier that the authors' published configuration trains the stream
            network with: their code's default, swish, or hard swish.
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
        """Rate in Hz of the frames of a clip."""
        return 25 / self.stride

    @property
    def clip_spec(self) -> ClipSpec:
        """The clip it was made for; its rate is in Hz, so that videos of any rate are seen alike."""
        return ClipSpec(frames=self.frames, fps=self.fps, size=self.size, short_side=self.short_side)


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
"""By name."""


NETWORK_RANGES = {
    "dropout": "[0, 1)",
    "stochastic_depth": "[0, 1]",
    "bn_momentum": "(0, 1]",
    "gate_slope": "(0, inf)",
}
"""Intervals of the options of a network."""


def find_variant(name: str) -> Variant:
    """The variant of a name.

    Raises:
        OptionError: There is none.
    """
    check_choice("variant", name, VARIANTS)
    return VARIANTS[name]
