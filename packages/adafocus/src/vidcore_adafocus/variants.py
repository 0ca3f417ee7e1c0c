"""The published forms of AdaFocus.

Sources: Wang et al., "Adaptive Focus for Efficient Video Recognition", ICCV 2021 (arXiv:2105.03245), V1; Wang et al.,
"AdaFocus V2: End-to-End Training of Spatial Dynamic Networks for Video Recognition", CVPR 2022 (arXiv:2112.14238), V2;
sizes as in the authors' released code.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidcore.errors import UserError

GRIDS = (25, 36, 49, 64)
"""Numbers of places that V1's policy may choose from: squares of 5 to 8."""

PATCH_SHARE = 4 / 7
"""Side of the window as a share of the frame's where nothing is said: 128 of 224 pixels."""


@dataclass(frozen=True)
class Variant:
    """One form of the method.

    Args:
        version: 1: a policy learnt by reinforcement, in stages; 2: windows that gradients pass through, in one stage.
        shift: Whether neighbouring frames exchange channels (TSM) in both backbones; then a clip has one window for all
            its frames, and cannot be streamed.
        glance: Backbone that sees whole frames.
        focus: Backbone that sees windows.
        glance_size: Height and width in pixels to which frames are resized for the glance network; None: as they come.
        frames: T, the frames of a clip.
        glance_frames: Of these, how many the glance network sees, evenly spread.
        policy_channels: To which the policy reduces the glance network's map.
        policy_width: Of the policy's hidden layers.
        head_width: Of the classifier's hidden layer.
        dropout: Probability before the classifier.
    """

    version: int
    shift: bool
    glance: str = "mobilenet_v2"
    focus: str = "resnet50"
    glance_size: int | None = None
    frames: int = 16
    glance_frames: int = 16
    policy_channels: int = 64
    policy_width: int = 1024
    head_width: int = 1024
    dropout: float = 0.5


VARIANTS = {
    "v1": Variant(1, shift=False, policy_channels=32, dropout=0.8),
    "v1_tsm": Variant(1, shift=True, frames=12, glance_frames=8),
    "v2": Variant(2, shift=False, policy_width=2048, head_width=4096, dropout=0.2),
    "v2_rn": Variant(
        2, shift=False, glance="resnet50", glance_size=96, policy_width=2048, head_width=4096, dropout=0.2
    ),
    "v2_tsm": Variant(2, shift=True, frames=12, glance_frames=8),
}
"""By name; ``v2_rn`` glances with a ResNet-50 at 96 × 96 pixels."""


@dataclass(frozen=True)
class Published:
    """What the authors report of a variant.

    Args:
        patch: P.
        gflops: "GFLOPs" a video, which are multiply-accumulates.
        score: In %: mAP on ActivityNet-v1.3; with temporal shift top-1 accuracy on Something-Something V2.
    """

    patch: int
    gflops: float
    score: float | None


PUBLISHED = {
    "v1": (
        Published(96, 17.2, 71.9),
        Published(128, 26.6, 75.0),
        Published(160, 38.6, 76.0),
        Published(192, 53.3, 76.7),
    ),
    "v1_tsm": (
        Published(128, 18.5, None),
        Published(144, 23.5, 59.7),
        Published(160, 27.5, 60.2),
        Published(176, 33.7, 60.7),
    ),
    "v2": (Published(96, 17.6, 77.4), Published(128, 27.0, 79.0), Published(160, 39.0, 79.9)),
    "v2_rn": (Published(96, 24.8, 77.5), Published(128, 34.1, 78.9), Published(160, 46.1, 80.2)),
    "v2_tsm": (
        Published(128, 18.5, 59.6),
        Published(144, 23.5, 60.5),
        Published(160, 27.5, 60.8),
        Published(176, 33.7, 61.3),
    ),
}
"""By variant."""


def find_variant(name: str) -> Variant:
    """The variant of that name.

    Raises:
        UserError: There is none.
    """
    if name not in VARIANTS:
        raise UserError(f"AdaFocus variant {name!r} is not one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def default_patch(size: int) -> int:
    """The window's side for frames of ``size``²: :data:`PATCH_SHARE`, in steps of 32 pixels, at least one of them."""
    return max(32, round(size * PATCH_SHARE / 32) * 32)


def check_patch(patch: int, size: tuple[int, int]) -> None:
    """Refuses windows that are larger than the frame.

    Raises:
        UserError: Names both.
    """
    if not 0 < patch <= min(size):
        height, width = size
        raise UserError(
            f"patch {patch}: a window of {patch} × {patch} pixels does not fit a frame of {height} × {width}; "
            f"give patch at most {min(size)}"
        )
