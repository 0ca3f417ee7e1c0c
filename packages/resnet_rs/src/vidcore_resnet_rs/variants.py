"""Depths of 3D ResNet-RS, their cost, and the order in which the paper scales the network.

Source: Du et al., "Revisiting 3D ResNets for Video Recognition" (arXiv:2109.01696), as in the authors' TensorFlow Model
Garden code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from vidcore.errors import OptionError, UserError
from vidcore.ranges import check_choice

StemVersion = Literal["v0", "v1"]
"""``v1``: three convolutions, as in ResNet-D. ``v0``: one 5×7×7 convolution."""

PoolStride = Literal[1, 2]
"""Temporal stride of the pooling layer after the stem."""

Gating = Literal["last", "all", "none"]
"""Bottlenecks with self-gating: the last of each stage, all, or none."""

GatingPosition = Literal["before_se", "after_se"]
"""Position of self-gating relative to squeeze-excitation."""

BLOCKS: dict[int, tuple[int, int, int, int]] = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    270: (4, 29, 53, 4),
    300: (4, 36, 54, 4),
    350: (4, 36, 72, 4),
}
"""Number of bottlenecks in each of the four stages, by depth."""

WIDTHS = (64, 128, 256, 512)
"""Width of the bottlenecks of each stage; their output has four times as many channels."""

TEMPORAL_KERNELS: tuple[tuple[int, ...], ...] = ((1,), (1,), (3,), (3,))
"""Temporal kernel sizes of each stage's bottlenecks, repeated from the first bottleneck on."""


@dataclass(frozen=True)
class ResNetRSConfig:
    """Everything that determines a 3D ResNet-RS network.

    Args:
        depth: Number of layers: 50, 101, 152, 200, 270, 300 or 350.
        num_classes: K, number of classes. 0: no classifier; the network returns features.
        stem: ``v1`` (three convolutions, ResNet-D) or ``v0`` (one 5×7×7 convolution).
        pool_temporal_stride: Temporal stride of the pooling layer after the stem: 1, or 2 for about half of the MACs.
        se_ratio: Hidden channels of squeeze-excitation as a share of a bottleneck's output channels. 0: no
            squeeze-excitation.
        gating: Bottlenecks with self-gating: the ``last`` of each stage, ``all`` or ``none``.
        gating_position: Position of self-gating relative to squeeze-excitation: ``before_se`` or ``after_se``.
        temporal_kernels: Temporal kernel sizes of each of the four stages, repeated over the stage's bottlenecks.
        stochastic_depth: Probability of dropping a residual branch of a sample in training, in the last stage; 4/5,
            3/5 and 2/5 of it in the stages before.
        dropout: Dropout probability before the classifier.
        bn_momentum: Momentum of batch normalisation: weight of the current batch in the running statistics.
        checkpointing: Whether training stores only the input of each bottleneck and recomputes the rest in the
            backward pass, for less memory and more time.

    Raises:
        OptionError: A field has an invalid value.
    """

    depth: int = 50
    num_classes: int = 400
    stem: StemVersion = "v1"
    pool_temporal_stride: PoolStride = 1
    se_ratio: float = 0.25
    gating: Gating = "last"
    gating_position: GatingPosition = "before_se"
    temporal_kernels: Sequence[Sequence[int]] = TEMPORAL_KERNELS
    stochastic_depth: float = 0.1
    dropout: float = 0.5
    bn_momentum: float = 0.1
    checkpointing: bool = False

    @property
    def blocks(self) -> tuple[int, int, int, int]:
        """Number of bottlenecks in each stage."""
        return find_blocks(self.depth)

    def __post_init__(self) -> None:
        find_blocks(self.depth)
        for name, allowed in (
            ("stem", StemVersion),
            ("pool_temporal_stride", PoolStride),
            ("gating", Gating),
            ("gating_position", GatingPosition),
        ):
            check_choice(name, getattr(self, name), get_args(allowed))
        kernels = tuple(tuple(stage) for stage in self.temporal_kernels)
        object.__setattr__(self, "temporal_kernels", kernels)  # lists from the command line
        odd = all(stage and all(kernel > 0 and kernel % 2 for kernel in stage) for stage in kernels)
        if len(kernels) != 4 or not odd:
            raise OptionError(f"temporal_kernels must be 4 lists of odd numbers, one per stage, got {kernels}")


def find_blocks(depth: int) -> tuple[int, int, int, int]:
    """Return the number of bottlenecks in each stage.

    Raises:
        OptionError: The depth is unknown.
    """
    check_choice("depth", depth, BLOCKS)
    return BLOCKS[depth]


@dataclass(frozen=True)
class Step:
    """One step of the paper's scaling ladder.

    Args:
        depth: Number of layers.
        frames: Frames per clip, with stride 2.
        top1: Published top-1 accuracy in % on Kinetics-400, with ten clips of three 256² crops per video.
    """

    depth: int
    frames: int
    top1: float


LADDER = (Step(50, 32, 78.2), Step(101, 32, 79.5), Step(152, 32, 79.9), Step(200, 32, 80.4), Step(200, 48, 81.0))
"""Steps in the order of their cost: depth is scaled first, then the number of frames; the frame size is not scaled."""


def scaled(gmacs: float, size: int = 224) -> Step:
    """Return the most expensive step of the paper's ladder that costs at most ``gmacs``.

    Args:
        gmacs: GMACs per clip.
        size: Height and width of the frames in pixels. Default: 224.

    Raises:
        UserError: ``gmacs`` is below the cost of the smallest network.
    """
    affordable = [step for step in LADDER if macs(step.depth, step.frames, size) <= gmacs * 1e9]
    if not affordable:
        least = macs(LADDER[0].depth, LADDER[0].frames, size) / 1e9
        raise UserError(f"gmacs must be at least {least:.1f} (the smallest ResNet-RS at {size}²), got {gmacs:g}")
    return affordable[-1]


def macs(depth: int, frames: int, size: int, num_classes: int = 400, pool_temporal_stride: int = 1) -> int:
    """Compute the MACs per clip in closed form, for the default options of ``ResNetRSConfig``.

    Args:
        depth: Number of layers.
        frames: Frames per clip.
        size: Height and width of the frames in pixels.
        num_classes: K, number of classes.
        pool_temporal_stride: Temporal stride of the pooling layer after the stem.
    """
    time, side = halved(frames), halved(size)
    total = time * side**2 * (5 * 9 * 3 * 32 + 9 * 32 * 32 + 9 * 32 * 64)
    time, side = (halved(time) if pool_temporal_stride == 2 else time), halved(side)
    channels = WIDTHS[0]
    for stage, (blocks, width, kernels) in enumerate(zip(find_blocks(depth), WIDTHS, TEMPORAL_KERNELS, strict=True)):
        for block in range(blocks):
            kernel = kernels[block % len(kernels)]
            total += time * side**2 * kernel * channels * width
            side = halved(side) if stage and not block else side
            total += time * side**2 * (9 * width * width + width * 4 * width)
            if not block:
                total += time * side**2 * channels * 4 * width  # projection of the shortcut
            channels = 4 * width
            total += 2 * channels * width  # squeeze-excitation
        total += channels**2  # self-gating
    return total + channels * num_classes


def halved(size: int) -> int:
    """Return the output size of a layer with stride 2 and "same" padding."""
    return (size + 1) // 2
