"""The family of 3D ResNet-RS, what it costs, and the order in which the paper makes it larger.

Source: Du et al., "Revisiting 3D ResNets for Video Recognition" (arXiv:2109.01696), in the form of the authors'
TensorFlow Model Garden code.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidcore.errors import UserError
from vidcore.ranges import check_choice

BLOCKS: dict[int, tuple[int, int, int, int]] = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    270: (4, 29, 53, 4),
    300: (4, 36, 54, 4),
    350: (4, 36, 72, 4),
}
"""Bottlenecks of each of the four stages, by depth."""

WIDTHS = (64, 128, 256, 512)
"""Channels between the convolutions of a bottleneck, by stage; its output has four times as many."""

TEMPORAL_KERNELS: tuple[tuple[int, ...], ...] = ((1,), (1,), (3,), (3,))
"""Temporal kernels of a stage's bottlenecks, repeated from the first on."""


def find_blocks(depth: int) -> tuple[int, int, int, int]:
    """Bottlenecks of each stage.

    Raises:
        OptionError: There is no network of this depth.
    """
    check_choice("depth", depth, BLOCKS)
    return BLOCKS[depth]


@dataclass(frozen=True)
class Step:
    """One model of the paper's ladder.

    Args:
        depth: Layers.
        frames: Frames of a clip, two source frames apart.
        top1: Published top-1 accuracy in % on Kinetics-400, ten clips of three crops of 256².
    """

    depth: int
    frames: int
    top1: float


LADDER = (Step(50, 32, 78.2), Step(101, 32, 79.5), Step(152, 32, 79.9), Step(200, 32, 80.4), Step(200, 48, 81.0))
"""By cost: depth grows first, then the number of frames; the size of the picture never does."""


def scaled(gmacs: float, size: int = 224) -> Step:
    """The largest model of the paper's ladder whose clip costs at most ``gmacs``.

    Args:
        gmacs: Billions of multiply-accumulates a clip.
        size: Height and width of the clip in pixels.

    Raises:
        UserError: Even the smallest costs more.
    """
    affordable = [step for step in LADDER if macs(step.depth, step.frames, size) <= gmacs * 1e9]
    if not affordable:
        least = macs(LADDER[0].depth, LADDER[0].frames, size) / 1e9
        raise UserError(f"{gmacs:g} GMACs are too few: the smallest ResNet-RS takes {least:.1f} at {size}²")
    return affordable[-1]


def macs(depth: int, frames: int, size: int, num_classes: int = 400, pool_temporal_stride: int = 1) -> int:
    """Multiply-accumulates of a clip in closed form, for the network with its default options.

    Args:
        depth: Layers.
        frames: Frames of the clip.
        size: Height and width in pixels.
        num_classes: Outputs of the classifier.
        pool_temporal_stride: Temporal stride of the pool behind the stem.
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
                total += time * side**2 * channels * 4 * width  # the projection of the shortcut
            channels = 4 * width
            total += 2 * channels * width  # squeeze and excite
        total += channels**2  # self-gating
    return total + channels * num_classes


def halved(size: int) -> int:
    """What a stride of 2 leaves with "same" padding."""
    return (size + 1) // 2
