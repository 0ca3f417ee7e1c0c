"""AdaFocus: a network that sees whole frames, one that sees a window of each, and a policy that places it."""

from __future__ import annotations

import copy
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vidcore.batch import Output
from vidcore.errors import UserError
from vidcore.flops import count_macs
from vidcore.nn import check_clip
from vidcore.streaming import State
from vidcore.tools.backbones import build_backbone, folded
from vidcore_adafocus.exits import Criterion, confidence, middle_first
from vidcore_adafocus.layers import (
    AverageHead,
    ClipPolicy,
    FixedPolicy,
    Focus,
    GaussianPolicy,
    Glance,
    GridPolicy,
    MaxPoolHead,
    Policy,
    RecurrentHead,
    SigmoidPolicy,
    SkippingPolicy,
    Windows,
    corners,
    windows_of,
)
from vidcore_adafocus.variants import Variant, check_patch, default_patch, find_variant

Order = Literal["time", "middle_first"]


class AdaFocusNet(nn.Module):
    """AdaFocus V1 and V2, with and without temporal shift.

    Wang et al., ICCV 2021 (arXiv:2105.03245), and CVPR 2022 (arXiv:2112.14238). The policy does not see what the focus
    network finds, so that a clip's windows are all placed first and looked at in one batch. Frame by frame
    (:meth:`step`) gives the same logits after each frame; what is remembered between is given and returned.

    Args:
        variant: A name of :data:`~vidcore_adafocus.variants.VARIANTS`.
        num_classes: K.
        frames: T, the frames of a clip; by default the variant's own.
        patch: P, the window's side in pixels; by default 4/7 of the frame's.
        glance: Backbone that sees whole frames, by its name in ``vidcore.backbones``; by default the variant's own.
        focus: Backbone that sees windows.
        size: Height and width in pixels of the frames.
        glance_size: Height and width to which frames are made for the glance network; by default the variant's own.
        glance_frames: With temporal shift, how many of the frames the glance network sees; by default as large a share
            as the variant's own.
        places: Of V1's grid: 25, 36, 49 or 64.
        policy_width: Of the policy's hidden layers; by default the variant's own.
        head_width: Of the classifier's hidden layer.
        dropout: Before the classifier.
        windows: ``learnt``, or without a policy, to compare with, ``centre``, ``random`` or ``gaussian``.
        skips: Of V1 without temporal shift: the policy also decides whether the focus network looks at a frame at all;
            where it does not, the classifier gets a learnt vector in place of its features.
        order: In which the frames are looked at: as they come, or the middle first, then both ends, then the middles
            between. Only the first can be streamed; the second suits early exits.

    Raises:
        UserError: An unknown variant or backbone, a window that does not fit the frame, another grid, or skips of a
            policy that cannot decide on them.
    """

    exit_thresholds: Tensor
    """(T,): how confident one must be to stop after each step; the last is -inf. All inf: not calibrated."""
    look_threshold: Tensor
    """Scalar: the focus network looks where a policy that skips finds this probability or more."""

    def __init__(
        self,
        variant: str = "v2",
        num_classes: int = 200,
        frames: int | None = None,
        patch: int | None = None,
        glance: str | None = None,
        focus: str | None = None,
        size: int = 224,
        glance_size: int | None = None,
        glance_frames: int | None = None,
        places: int = 49,
        policy_width: int | None = None,
        head_width: int | None = None,
        dropout: float | None = None,
        windows: Windows = "learnt",
        skips: bool = False,
        order: Order = "time",
    ) -> None:
        super().__init__()
        spec = find_variant(variant)
        self.variant, self.num_classes, self.size = spec, num_classes, size
        self.frames = frames or spec.frames
        self.patch = default_patch(size) if patch is None else patch
        check_patch(self.patch, (size, size))
        self.glance_frames = self.frames
        if spec.shift:
            self.glance_frames = glance_frames or max(1, round(self.frames * spec.glance_frames / spec.frames))
        if not 0 < self.glance_frames <= self.frames:
            raise UserError(f"glance_frames {self.glance_frames} are not among the clip's {self.frames} frames")
        self.glance_name, self.focus_name = glance or spec.glance, focus or spec.focus
        shifts = (self.glance_frames, self.frames) if spec.shift else (0, 0)
        glance_size = glance_size or spec.glance_size
        self.glance = Glance(build_backbone(self.glance_name, frames=shifts[0]), glance_size, shifts[0])
        self.focus = Focus(build_backbone(self.focus_name, frames=shifts[1]), shifts[1])
        self.map_size = self.glance.backbone.map_size(glance_size or size, max(1, shifts[0]))
        self.skips = skips
        self.policy = self._policy(spec, windows, places, policy_width or spec.policy_width)
        width = self.glance.num_features + self.focus.num_features
        head_width, dropout = head_width or spec.head_width, spec.dropout if dropout is None else dropout
        self.head: Any  # of three kinds
        if spec.shift:
            self.head = AverageHead(self.glance.num_features, self.focus.num_features, num_classes, dropout)
        elif spec.version == 1:
            self.head = RecurrentHead(width, num_classes, head_width, dropout)
        else:
            self.head = MaxPoolHead(width, num_classes, self.frames, head_width, dropout)
        self.order = order
        self.exit_by: Criterion | None = None
        """How confidence is measured where evaluation stops early; None: it sees all frames."""
        self.register_buffer("exit_thresholds", torch.full((self.frames,), torch.inf))
        if skips:
            self.register_buffer("look_threshold", torch.tensor(0.5))
            self.nothing = nn.Parameter(torch.zeros(self.focus.num_features))

    def _policy(self, spec: Variant, windows: Windows, places: int, width: int) -> Policy:
        if windows not in get_args(Windows):
            raise UserError(f"windows {windows!r} is not one of {', '.join(get_args(Windows))}")
        if self.skips and (windows != "learnt" or spec.version == 2 or spec.shift):
            raise UserError(
                "skips are learnt by reinforcement, frame by frame: they need variant v1 and learnt windows"
            )
        if windows != "learnt":
            return FixedPolicy(windows, spec.shift)
        sizes = (self.glance.num_features, self.map_size)
        if spec.shift:
            kind = GaussianPolicy if spec.version == 1 else ClipPolicy
            return kind(*sizes, self.glance_frames, spec.policy_channels, width)
        if spec.version == 1:
            grid = SkippingPolicy if self.skips else GridPolicy
            return grid(*sizes, spec.policy_channels, width, places)
        return SigmoidPolicy(*sizes, spec.policy_channels, width)

    @property
    def streams(self) -> bool:
        """Whether frames can be given one by one: neither shifted, nor in another order."""
        return not self.variant.shift and self.order == "time"

    def folded(self) -> AdaFocusNet:
        """A copy for inference, in eval mode: normalisation of both backbones is in their convolutions' weights."""
        net = copy.deepcopy(self).eval()
        for part in (net.glance, net.focus):
            part.backbone = folded(part.backbone)  # type: ignore[assignment]
        return net

    def forward(self, video: Tensor) -> Output:
        """Classifies clips; in evaluation with early exits where :attr:`exit_by` says how.

        Args:
            video: (B, 3, T, H, W), normalised as the backbones want it.

        Returns:
            ``logits`` (B, K), ``step_logits`` (B, T, K) in the order in which frames are looked at (none with temporal
            shift), ``usage`` by component, and as ``trace`` the ``windows`` (B, T, 4): x1, y1, x2, y2 in pixels, zeros
            of frames that were not looked at.

        Raises:
            UserError: Another shape, another number of frames, windows that do not fit, or exits without thresholds.
        """
        self._check(video)
        if self.exit_by is not None and not self.training:
            return self._with_exits(video)
        maps = self.look(video)
        hidden = video.new_zeros(len(video), self.policy.width)
        positions, _ = self.policy(maps, hidden)
        corner, looks = self.corners(positions, video), self.looks(positions)
        focuses = self.look_closely(video, corner, looks)
        logits, steps = self.classify(maps, focuses)
        runs = {name: torch.full((len(video),), count, device=video.device) for name, count in self.runs().items()}
        if looks is not None:
            runs["focus"] = looks.sum(1)
        return Output(logits, steps, usage=runs, trace={"windows": self.in_time(self.boxes(corner, looks))})

    # The parts, of whole clips; time is in the order in which frames are looked at, but for windows.

    def look(self, video: Tensor) -> Tensor:
        """From clips (B, 3, T, H, W) to the glance network's maps (B, T', C, h, w)."""
        if self.glance_frames < self.frames:  # the middles of as many equal stretches
            numbers = torch.arange(self.glance_frames, device=video.device)
            video = video[:, :, (2 * numbers + 1) * self.frames // (2 * self.glance_frames)]
        frames = self._in_order(video.transpose(1, 2))
        return self.glance(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def corners(self, positions: Tensor, video: Tensor) -> Tensor:
        """From positions (B, T or 1, 2 or 3) in [0, 1] to corners (B, T, 2), y and x in pixels; V1's are whole."""
        positions = positions[..., :2].expand(-1, video.shape[2], -1)
        return corners(positions, (video.shape[3], video.shape[4]), self.patch, whole=self.variant.version == 1)

    def looks(self, positions: Tensor) -> Tensor | None:
        """At which frames the focus network looks (B, T), as positions of a policy that skips say; None: at all."""
        return positions[..., 2] >= self.look_threshold if self.skips else None

    def look_closely(self, video: Tensor, corner: Tensor, looks: Tensor | None = None) -> Tensor:
        """From clips and corners (B, T, 2) to the focus network's features (B, T, F), all windows in one batch.

        Of frames that it does not look at they are :attr:`nothing`.
        """
        return self._focused(self._in_order(video.transpose(1, 2)), corner, looks)

    def _focused(self, frames: Tensor, corner: Tensor, looks: Tensor | None) -> Tensor:
        """From frames (B, T, 3, H, W) in the order of corners to features (B, T, F)."""
        if looks is None:
            windows = windows_of(frames.flatten(0, 1), corner.flatten(0, 1), self.patch)
            return self.focus(windows).unflatten(0, frames.shape[:2])
        features = self.nothing.expand(*looks.shape, -1)
        if not looks.any():
            return features
        found = self.focus(windows_of(frames[looks], corner[looks], self.patch))
        return features.to(found.dtype).index_put((looks,), found)

    def classify(self, maps: Tensor, focuses: Tensor) -> tuple[Tensor, Tensor | None]:
        """From maps (B, T', C, h, w) and features (B, T, F) to logits (B, K), and those of each step (B, T, K)."""
        glances = maps.mean((3, 4))
        if self.variant.shift:
            return self.head(glances, focuses), None
        features = torch.cat([glances, focuses], 2)
        steps, _ = self.head(features, features.new_zeros(len(features), self.head.width), 0)
        return steps[:, -1], steps

    def boxes(self, corner: Tensor, looks: Tensor | None = None) -> Tensor:
        """From corners (B, T, 2) to boxes (B, T, 4), x1, y1, x2, y2; zeros where the focus network does not look."""
        upper_left = corner.flip(-1)
        found = torch.cat([upper_left, upper_left + self.patch], -1)
        return found if looks is None else found * looks[..., None]

    def in_time(self, values: Tensor) -> Tensor:
        """Values (B, T, …) of frames as they are looked at, in the order of time."""
        return values if self.order == "time" else values[:, torch.argsort(self._numbers(values.device))]

    def _numbers(self, device: torch.device) -> Tensor:
        return torch.tensor(middle_first(self.frames), device=device)

    def _in_order(self, frames: Tensor) -> Tensor:
        """Frames (B, T, …) in the order in which they are looked at."""
        if self.order == "time" or self.variant.shift:
            return frames
        return frames[:, self._numbers(frames.device)]

    def _check(self, video: Tensor) -> None:
        check_clip(video, "AdaFocus")
        check_patch(self.patch, (video.shape[3], video.shape[4]))
        if video.shape[2] != self.frames:
            raise UserError(f"this AdaFocus was built for clips of {self.frames} frames, not of {video.shape[2]}")

    # Frame by frame.

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """What is remembered before the first frame; zeros in a row let that stream begin anew.

        Raises:
            UserError: It cannot be streamed, or windows do not fit frames of this ``size``.
        """
        if not self.streams:
            raise UserError("AdaFocus with temporal shift, or with the middle first, needs whole clips")
        check_patch(self.patch, size)
        return self._nothing_seen(batch_size)

    def _nothing_seen(self, batch_size: int) -> State:
        like = self.exit_thresholds
        return {
            "policy": like.new_zeros(batch_size, self.policy.width),
            "classifier": like.new_zeros(batch_size, self.head.width),
            "seen": like.new_zeros(batch_size, dtype=torch.int64),
        }

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Takes the next ``frames`` (B, 3, t, H, W); gives the logits (B, K) after the last, and the new state."""
        steps, _, _, state = self._advance(frames, state, state["seen"])
        return steps[:, -1], state

    def _advance(self, frames: Tensor, state: State, seen: int | Tensor) -> tuple[Tensor, Tensor, Tensor | None, State]:
        """Logits (B, t, K) after each of some frames (B, 3, t, H, W), corners (B, t, 2), looks, and the new state."""
        images = frames.transpose(1, 2)
        maps = self.glance(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        positions, policy = self.policy(maps, state["policy"])
        corner, looks = self.corners(positions, frames), self.looks(positions)
        features = torch.cat([maps.mean((3, 4)), self._focused(images, corner, looks)], 2)
        logits, classifier = self.head(features, state["classifier"], seen)
        after = {"policy": policy, "classifier": classifier, "seen": state["seen"] + images.shape[1]}
        return logits, corner, looks, after

    # Early exit.

    def _with_exits(self, video: Tensor) -> Output:
        """Looks at one frame after another of those rows only that are not confident yet."""
        if self.exit_by is None or self.variant.shift:
            raise UserError("AdaFocus with temporal shift sees a clip as a whole: it has no early exit")
        if not self.exit_thresholds.isneginf()[-1]:
            raise UserError("early exit: no thresholds in these weights; calibrate them first (vid exits)")
        frames = self._in_order(video.transpose(1, 2)).transpose(1, 2)
        rows = torch.arange(len(video), device=video.device)
        state = self._nothing_seen(len(video))
        steps = video.new_zeros(len(video), self.frames, self.num_classes)
        boxes = video.new_zeros(len(video), self.frames, 4)
        used = torch.full((len(video),), self.frames, device=video.device)
        looked = torch.zeros_like(used)
        for step in range(self.frames):
            logits, corner, looks, state = self._advance(frames[rows, :, step : step + 1], state, step)
            steps[rows, step:] = logits.to(steps.dtype)
            boxes[rows, step] = self.boxes(corner, looks)[:, 0].to(boxes.dtype)
            looked[rows] += 1 if looks is None else looks[:, 0].long()
            stays = confidence(logits[:, 0], self.exit_by) < self.exit_thresholds[step]
            used[rows[~stays]] = step + 1
            rows, state = rows[stays], {name: value[stays] for name, value in state.items()}
            if not len(rows):
                break
        usage = {**dict.fromkeys(self.runs(), used), "focus": looked}
        return Output(steps[:, -1], steps, usage=usage, trace={"windows": self.in_time(boxes)})

    # Cost.

    def components(self) -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
        """The costed parts, with example inputs of one run: of one frame, or with temporal shift of one clip."""
        like, size, shift = self.exit_thresholds, self.size, self.variant.shift
        glances, focuses = (self.glance_frames, self.frames) if shift else (1, 1)
        maps = like.new_zeros(1, glances, self.glance.num_features, *self.map_size)
        seen = like.new_zeros(1, glances, self.glance.num_features), like.new_zeros(1, focuses, self.focus.num_features)
        inputs: tuple[Any, ...] = seen if shift else (torch.cat(seen, 2), like.new_zeros(1, self.head.width), 0)
        return {
            "glance": (self.glance, (like.new_zeros(glances, 3, size, size),)),
            "policy": (self.policy, (maps, like.new_zeros(1, self.policy.width))),
            "focus": (self.focus, (like.new_zeros(focuses, 3, self.patch, self.patch),)),
            "classifier": (self.head, inputs),
        }

    def runs(self) -> dict[str, int]:
        """How often each of :meth:`components` runs for a clip that is seen as a whole."""
        count = 1 if self.variant.shift else self.frames
        return dict.fromkeys(("glance", "policy", "focus", "classifier"), count)

    def macs_per_video(self) -> int:
        """Multiply-accumulates of a clip without early exit: convolutions, linear and recurrent layers."""
        runs = self.runs()
        return sum(runs[name] * count_macs(*part).total for name, part in self.components().items())
