"""The published forms of AdaFocus.

Sources: Wang et al., "Adaptive Focus for Efficient Video Recognition", ICCV 2021 (arXiv:2105.03245), V1; Wang et al.,
"AdaFocus V2: End-to-End Training of Spatial Dynamic Networks for Video Recognition", CVPR 2022 (arXiv:2112.14238), V2;
sizes as in the authors' released code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from vidcore.errors import OptionError
from vidcore.ranges import check_choice

Windows = Literal["learnt", "centre", "random", "gaussian"]
"""Window placement: a learnt policy, or one of the input-independent baselines."""

Order = Literal["time", "middle_first"]
"""Order in which frames are processed."""

GRIDS = (25, 36, 49, 64)
"""Allowed numbers of window positions of V1's grid: 5², 6², 7² and 8²."""

PATCH_SHARE = 4 / 7
"""Default side length of the window as a share of the frame size: 128 of 224 pixels."""


@dataclass(frozen=True)
class Variant:
    """Defaults of one published form of AdaFocus; see ``AdaFocusConfig`` for the meaning of each field."""

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

    @property
    def classes(self) -> int:
        """Classes of the data set that its figures are for: ActivityNet-v1.3, or Something-Something V2 with shift."""
        return 174 if self.shift else 200


VARIANTS = {
    "v1": Variant(1, shift=False, policy_channels=32, dropout=0.8),
    "v1_tsm": Variant(1, shift=True, frames=12, glance_frames=8),
    "v2": Variant(2, shift=False, policy_width=2048, head_width=4096, dropout=0.2),
    "v2_rn": Variant(
        2, shift=False, glance="resnet50", glance_size=96, policy_width=2048, head_width=4096, dropout=0.2
    ),
    "v2_tsm": Variant(2, shift=True, frames=12, glance_frames=8),
}
"""By name; ``v2_rn`` has a ResNet-50 at 96 × 96 pixels as its glance network."""


@dataclass(frozen=True)
class AdaFocusConfig:
    """Everything that determines an AdaFocus network.

    Use [`of`][vidcore_adafocus.AdaFocusConfig.of] to build one from the name of a variant and the fields that differ
    from its defaults.

    Args:
        variant: Name of the variant in [`VARIANTS`][vidcore_adafocus.VARIANTS].
        version: 1: the policy is trained by reinforcement learning, in stages. 2: windows are differentiable and the
            network is trained end to end.
        shift: Whether both backbones shift channels between neighbouring frames (TSM). A clip then has one window
            position for all frames and cannot be streamed.
        num_classes: K, number of classes.
        frames: T, frames per clip.
        size: Height and width of the frames in pixels.
        patch: P, side length of the window in pixels, from 1 to ``size``.
        glance: Backbone of the glance network, by its name in the entry-point group ``vidcore.backbones``.
        focus: Backbone of the focus network.
        glance_size: Height and width in pixels to which frames are resized for the glance network. None: not resized.
        glance_frames: Frames per clip that the glance network receives, evenly spaced; below ``frames`` only with
            temporal shift.
        places: Number of window positions of V1's grid: one of ``GRIDS``.
        policy_channels: Channels to which the policy reduces the global feature map.
        policy_width: Width of the policy's hidden layers.
        head_width: Width of the classifier's hidden layer.
        dropout: Dropout probability before the classifier.
        windows: ``learnt``, or an input-independent baseline: ``centre``, ``random`` or ``gaussian``.
        skips: Whether V1's policy also decides which frames the focus network skips.
        order: Order in which frames are processed: ``time``, or ``middle_first`` (the middle, both ends, then the
            middles between), which suits early exits but cannot be streamed.

    Raises:
        OptionError: A field has an invalid value, or ``skips`` is set for a policy that cannot skip.
    """

    variant: str
    version: int
    shift: bool
    num_classes: int
    frames: int
    size: int
    patch: int
    glance: str
    focus: str
    glance_size: int | None
    glance_frames: int
    places: int
    policy_channels: int
    policy_width: int
    head_width: int
    dropout: float
    windows: Windows
    skips: bool
    order: Order

    @classmethod
    def of(
        cls,
        variant: str = "v2",
        *,
        num_classes: int = 200,
        frames: int | None = None,
        size: int = 224,
        patch: int | None = None,
        glance_frames: int | None = None,
        places: int = 49,
        windows: Windows = "learnt",
        skips: bool = False,
        order: Order = "time",
        **overrides: Any,
    ) -> AdaFocusConfig:
        """Build the configuration of a variant.

        Args:
            variant: Name of the variant in [`VARIANTS`][vidcore_adafocus.VARIANTS].
            num_classes: See the class, as for all arguments.
            frames: Default: the variant's.
            size: Default: 224.
            patch: Default: 4/7 of ``size``, rounded to a multiple of 32.
            glance_frames: Default: the variant's share of ``frames``.
            places: Default: 49.
            windows: Default: ``learnt``.
            skips: Default: False.
            order: Default: ``time``.
            **overrides: Fields of [`Variant`][vidcore_adafocus.Variant] (``glance``, ``focus``, ``glance_size``,
                ``policy_channels``, ``policy_width``, ``head_width``, ``dropout``); None stands for the variant's
                default.
        """
        spec = find_variant(variant)
        frames = frames or spec.frames
        if not spec.shift:
            glance_frames = frames
        elif glance_frames is None:
            glance_frames = max(1, round(frames * spec.glance_frames / spec.frames))
        given = {name: value for name, value in overrides.items() if value is not None}
        fields = {**asdict(spec), **given, "frames": frames, "glance_frames": glance_frames}
        patch = default_patch(size) if patch is None else patch
        return cls(
            variant=variant, num_classes=num_classes, size=size, patch=patch, places=places, windows=windows,
            skips=skips, order=order, **fields,
        )  # fmt: skip

    def __post_init__(self) -> None:
        check_patch(self.patch, (self.size, self.size))
        if not 0 < self.glance_frames <= self.frames:
            raise OptionError(f"glance_frames must be between 1 and {self.frames} (the clip), got {self.glance_frames}")
        check_choice("windows", self.windows, get_args(Windows))
        check_choice("order", self.order, get_args(Order))
        check_choice("places", self.places, GRIDS)
        if self.skips and (self.windows != "learnt" or self.version == 2 or self.shift):
            raise OptionError("skips are trained by reinforcement learning: they need variant v1 and windows learnt")


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
        OptionError: There is none.
    """
    check_choice("variant", name, VARIANTS)
    return VARIANTS[name]


def default_patch(size: int) -> int:
    """The window's side for frames of ``size``²: ``PATCH_SHARE``, in steps of 32 pixels, at least one of them."""
    return max(32, round(size * PATCH_SHARE / 32) * 32)


def check_patch(patch: int, size: tuple[int, int]) -> None:
    """Refuses windows that are larger than the frame.

    Raises:
        OptionError: Names both.
    """
    if not 0 < patch <= min(size):
        height, width = size
        raise OptionError(
            f"patch must be between 1 and {min(size)}: a window of {patch} × {patch} pixels does not fit a frame of "
            f"{height} × {width}"
        )
