"""The AdaFocus network: global features of whole frames, a policy, local features of windows, and a classifier."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from vidcore.backbones import build_backbone, folded
from vidcore.batch import Output
from vidcore.errors import UserError
from vidcore.flops import count_macs
from vidcore.nn import check_clip
from vidcore.streaming import State
from vidcore_adafocus.backbones import Focus, Glance
from vidcore_adafocus.exits import Criterion, confidence, middle_first
from vidcore_adafocus.heads import AverageHead, MaxPoolHead, RecurrentHead
from vidcore_adafocus.policies import build_policy
from vidcore_adafocus.variants import AdaFocusConfig, check_patch
from vidcore_adafocus.windows import boxes_of, corners, crop_windows


class AdaFocusNet(nn.Module):
    """AdaFocus V1 (arXiv:2105.03245) and V2 (arXiv:2112.14238), with and without temporal shift.

    Constructing this class returns a ``PerFrameNet``, or a ``PerClipNet`` for variants with temporal shift.
    The policy does not depend on local features, so all windows of a clip are placed first and run as one batch.

    Args:
        config: Configuration of the network.
        **options: Arguments of [`AdaFocusConfig.of`][vidcore_adafocus.AdaFocusConfig.of], instead of ``config``.

    Raises:
        UserError: The variant or a backbone is unknown, or an option has an invalid value.
    """

    head: Any
    """Classifier, of a type that depends on the variant."""

    exit_thresholds: Tensor
    """(T,) confidence needed to stop after each step; the last is -inf after calibration. All inf: not calibrated."""

    def __new__(cls, config: AdaFocusConfig | None = None, **options: Any) -> AdaFocusNet:
        """Choose the class of the variant."""
        if cls is AdaFocusNet:
            shift = (config or AdaFocusConfig.of(**options)).shift
            cls = PerClipNet if shift else PerFrameNet
        return super().__new__(cls)

    def __init__(self, config: AdaFocusConfig | None = None, **options: Any) -> None:
        super().__init__()
        self.config = config = config or AdaFocusConfig.of(**options)
        self.frames, self.patch = config.frames, config.patch
        glance_shift, focus_shift = (config.glance_frames, config.frames) if config.shift else (0, 0)
        self.glance = Glance(build_backbone(config.glance, frames=glance_shift), config.glance_size, glance_shift)
        self.focus = Focus(build_backbone(config.focus, frames=focus_shift), focus_shift)
        self.map_size = self.glance.backbone.map_size(config.glance_size or config.size, max(1, glance_shift))
        self.policy = build_policy(config, self.glance.num_features, self.map_size)
        self._build_head()
        self.exit_by: Criterion | None = None
        """Confidence measure of early exit in evaluation. None: all frames are processed."""
        self.register_buffer("exit_thresholds", torch.full((config.frames,), torch.inf))

    def _build_head(self) -> None:
        raise NotImplementedError

    @property
    def streams(self) -> bool:
        """Whether the network can process a video frame by frame."""
        return False

    def folded(self) -> Self:
        """Return a copy in eval mode with the batch normalisation of both backbones folded into their convolutions."""
        net = copy.deepcopy(self).eval()
        for part in (net.glance, net.focus):
            part.backbone = folded(part.backbone)  # type: ignore[assignment]
        return net

    def forward(self, video: Tensor) -> Output:
        """Classify clips.

        Args:
            video: (B, 3, T, H, W) float, normalised with the backbones' mean and std.

        Returns:
            ``logits`` (B, K), ``usage`` by component and the ``trace`` ``windows`` (B, T, 4): x1, y1, x2, y2 in pixels,
            zeros for skipped frames. Without temporal shift also ``step_logits`` (B, T, K), in processing order.

        Raises:
            UserError: ``video`` has another shape, or early exit is on and thresholds are missing.
        """
        raise NotImplementedError

    def global_features(self, video: Tensor) -> Tensor:
        """Compute the glance network's maps (B, T', C, h, w) of clips (B, 3, T, H, W)."""
        raise NotImplementedError

    def classify(self, maps: Tensor, local_features: Tensor) -> Tensor:
        """Compute logits from maps and local features: per step (B, T, K), or per clip (B, K)."""
        raise NotImplementedError

    def local_features(self, video: Tensor, corner: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute local features (B, T, F) of the windows at corners (B, T, 2), all windows in one batch."""
        frames = video.transpose(1, 2)
        windows = crop_windows(frames.flatten(0, 1), corner.flatten(0, 1), self.patch)
        return self.focus(windows).unflatten(0, frames.shape[:2])

    def corners(self, positions: Tensor, video: Tensor) -> Tensor:
        """Convert positions (B, T or 1, 2 or 3) in [0, 1] to corners (B, T, 2), y and x in pixels; V1 rounds down."""
        positions = positions[..., :2].expand(-1, video.shape[2], -1)
        return corners(positions, (video.shape[3], video.shape[4]), self.patch, whole=self.config.version == 1)

    def focus_mask(self, positions: Tensor) -> Tensor | None:
        """Return (B, T) bool, the frames that the focus network processes. None: all frames."""
        return None

    def components(self) -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
        """Return each costed component with example inputs of one call."""
        raise NotImplementedError

    def calls_per_clip(self) -> dict[str, int]:
        """Return the number of calls of each component per clip when nothing is skipped."""
        raise NotImplementedError

    def macs_per_video(self) -> int:
        """Return the multiply-accumulates per clip without early exit: convolutions, linear and recurrent layers."""
        calls = self.calls_per_clip()
        return sum(calls[name] * count_macs(*part).total for name, part in self.components().items())

    def _usage(self, video: Tensor) -> dict[str, Tensor]:
        return {name: torch.full((len(video),), n, device=video.device) for name, n in self.calls_per_clip().items()}

    def _check(self, video: Tensor) -> None:
        check_clip(video, "AdaFocus")
        check_patch(self.patch, (video.shape[3], video.shape[4]))
        if video.shape[2] != self.frames:
            raise UserError(f"this AdaFocus network takes clips of {self.frames} frames, got {video.shape[2]}")


class PerFrameNet(AdaFocusNet):
    """AdaFocus without temporal shift: one window and one prediction per frame; see ``AdaFocusNet``.

    Processing a clip frame by frame (``step``) gives the same logits after each frame.
    """

    look_threshold: Tensor
    """Scalar; with ``skips``, the focus network runs on frames with at least this probability. Default: 0.5."""

    def _build_head(self) -> None:
        config, features = self.config, self.glance.num_features + self.focus.num_features
        if config.version == 1:
            self.head = RecurrentHead(features, config.num_classes, config.head_width, config.dropout)
        else:
            self.head = MaxPoolHead(features, config.num_classes, config.frames, config.head_width, config.dropout)
        if config.skips:
            self.register_buffer("look_threshold", torch.tensor(0.5))
            self.nothing = nn.Parameter(torch.zeros(self.focus.num_features))
            """Learnt local features of skipped frames."""

    @property
    def streams(self) -> bool:
        """Whether frames are processed in time order."""
        return self.config.order == "time"

    def forward(self, video: Tensor) -> Output:
        """See [`AdaFocusNet`][vidcore_adafocus.AdaFocusNet]."""
        self._check(video)
        if self.exit_by is not None and not self.training:
            return self._forward_with_exits(video)
        maps = self.global_features(video)
        positions, _ = self.policy(maps, video.new_zeros(len(video), self.policy.width))
        corner, mask = self.corners(positions, video), self.focus_mask(positions)
        steps = self.classify(maps, self.local_features(video, corner, mask))
        usage = self._usage(video)
        if mask is not None:
            usage["focus"] = mask.sum(1)
        windows = self._in_time(boxes_of(corner, self.patch, mask))
        return Output(steps[:, -1], steps, usage=usage, trace={"windows": windows})

    # The parts of forward on whole clips. Frames are in processing order.

    def global_features(self, video: Tensor) -> Tensor:
        """Compute maps (B, T, C, h, w) of clips (B, 3, T, H, W)."""
        frames = self._ordered(video)
        return self.glance(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def local_features(self, video: Tensor, corner: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute local features (B, T, F); ``nothing`` for frames where ``mask`` (B, T) is False."""
        return self._local_features(self._ordered(video), corner, mask)

    def focus_mask(self, positions: Tensor) -> Tensor | None:
        """Return (B, T) bool, the frames that the focus network processes. None: all frames."""
        return positions[..., 2] >= self.look_threshold if self.config.skips else None

    def classify(self, maps: Tensor, local_features: Tensor) -> Tensor:
        """Compute logits after each step (B, T, K) from maps (B, T, C, h, w) and local features (B, T, F)."""
        features = torch.cat([maps.mean((3, 4)), local_features], 2)
        return self.head(features, features.new_zeros(len(features), self.head.width), 0)[0]

    def _local_features(self, frames: Tensor, corner: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return super().local_features(frames.transpose(1, 2), corner)
        features = self.nothing.expand(*mask.shape, -1)
        if not mask.any():
            return features
        local = self.focus(crop_windows(frames[mask], corner[mask], self.patch))
        return features.to(local.dtype).index_put((mask,), local)

    def _ordered(self, video: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) in processing order."""
        frames = video.transpose(1, 2)
        return frames if self.streams else frames[:, self._order(frames.device)]

    def _in_time(self, values: Tensor) -> Tensor:
        """Values (B, T, …) in processing order, reordered in time."""
        return values if self.streams else values[:, torch.argsort(self._order(values.device))]

    def _order(self, device: torch.device) -> Tensor:
        return torch.tensor(middle_first(self.frames), device=device)

    # Frame by frame.

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """Return the state before the first frame; a row of zeros restarts that row's stream.

        Raises:
            UserError: The network cannot stream, or the window does not fit frames of this ``size``.
        """
        if not self.streams:
            raise UserError("AdaFocus with order middle_first needs whole clips: it cannot stream")
        check_patch(self.patch, size)
        return self._initial_state(batch_size)

    def _initial_state(self, batch_size: int) -> State:
        like = self.exit_thresholds
        return {
            "policy": like.new_zeros(batch_size, self.policy.width),
            "classifier": like.new_zeros(batch_size, self.head.width),
            "seen": like.new_zeros(batch_size, dtype=torch.int64),
        }

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Process the next ``frames`` (B, 3, t, H, W); return logits (B, K) after the last one and the new state."""
        steps, _, _, state = self._step(frames, state, state["seen"])
        return steps[:, -1], state

    def _step(self, frames: Tensor, state: State, seen: int | Tensor) -> tuple[Tensor, Tensor, Tensor | None, State]:
        """Return logits (B, t, K) after each frame, corners (B, t, 2), the focus mask and the new state."""
        images = frames.transpose(1, 2)
        maps = self.glance(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        positions, policy = self.policy(maps, state["policy"])
        corner, mask = self.corners(positions, frames), self.focus_mask(positions)
        features = torch.cat([maps.mean((3, 4)), self._local_features(images, corner, mask)], 2)
        logits, classifier = self.head(features, state["classifier"], seen)
        state = {"policy": policy, "classifier": classifier, "seen": state["seen"] + images.shape[1]}
        return logits, corner, mask, state

    def _forward_with_exits(self, video: Tensor) -> Output:
        """Process frames one by one; drop a row from the batch once its exit criterion is met."""
        if not self.exit_thresholds.isneginf()[-1]:
            raise UserError("early exit: these weights have no thresholds; calibrate them first (vid exits)")
        frames = self._ordered(video).transpose(1, 2)
        rows = torch.arange(len(video), device=video.device)
        state = self._initial_state(len(video))
        steps = video.new_zeros(len(video), self.frames, self.config.num_classes)
        boxes = video.new_zeros(len(video), self.frames, 4)
        used = torch.full((len(video),), self.frames, device=video.device)
        focused = torch.zeros_like(used)
        for step in range(self.frames):
            logits, corner, mask, state = self._step(frames[rows, :, step : step + 1], state, step)
            steps[rows, step:] = logits.to(steps.dtype)
            boxes[rows, step] = boxes_of(corner, self.patch, mask)[:, 0].to(boxes.dtype)
            focused[rows] += 1 if mask is None else mask[:, 0].long()
            stays = confidence(logits[:, 0], self.exit_by or "") < self.exit_thresholds[step]
            used[rows[~stays]] = step + 1
            rows, state = rows[stays], {name: value[stays] for name, value in state.items()}
            if not len(rows):
                break
        usage = {**dict.fromkeys(self.calls_per_clip(), used), "focus": focused}
        return Output(steps[:, -1], steps, usage=usage, trace={"windows": self._in_time(boxes)})

    def components(self) -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
        """Return each costed component with example inputs of one frame."""
        like, size = self.exit_thresholds, self.config.size
        features = like.new_zeros(1, 1, self.glance.num_features + self.focus.num_features)
        maps = like.new_zeros(1, 1, self.glance.num_features, *self.map_size)
        return {
            "glance": (self.glance, (like.new_zeros(1, 3, size, size),)),
            "policy": (self.policy, (maps, like.new_zeros(1, self.policy.width))),
            "focus": (self.focus, (like.new_zeros(1, 3, self.patch, self.patch),)),
            "classifier": (self.head, (features, like.new_zeros(1, self.head.width), 0)),
        }

    def calls_per_clip(self) -> dict[str, int]:
        """Return T for each component."""
        return dict.fromkeys(("glance", "policy", "focus", "classifier"), self.frames)


class PerClipNet(AdaFocusNet):
    """AdaFocus with temporal shift: one window position and one prediction per clip; see ``AdaFocusNet``."""

    def _build_head(self) -> None:
        config = self.config
        features = self.glance.num_features, self.focus.num_features
        self.head = AverageHead(*features, config.num_classes, config.dropout)

    def forward(self, video: Tensor) -> Output:
        """See [`AdaFocusNet`][vidcore_adafocus.AdaFocusNet]."""
        self._check(video)
        if self.exit_by is not None and not self.training:
            raise UserError("AdaFocus with temporal shift processes whole clips: it has no early exit")
        maps = self.global_features(video)
        positions, _ = self.policy(maps, video.new_zeros(len(video), self.policy.width))
        corner = self.corners(positions, video)
        logits = self.classify(maps, self.local_features(video, corner))
        return Output(logits, usage=self._usage(video), trace={"windows": boxes_of(corner, self.patch)})

    def global_features(self, video: Tensor) -> Tensor:
        """Compute the glance network's maps (B, T', C, h, w): T' frames, the middles of equal parts of the clip."""
        count = self.config.glance_frames
        if count < self.frames:
            numbers = torch.arange(count, device=video.device)
            video = video[:, :, (2 * numbers + 1) * self.frames // (2 * count)]
        frames = video.transpose(1, 2)
        return self.glance(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def classify(self, maps: Tensor, local_features: Tensor) -> Tensor:
        """Compute logits (B, K) from maps (B, T', C, h, w) and local features (B, T, F)."""
        return self.head(maps.mean((3, 4)), local_features)

    def components(self) -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
        """Return each costed component with example inputs of one clip."""
        like, config = self.exit_thresholds, self.config
        glances, frames, size = config.glance_frames, config.frames, config.size
        maps = like.new_zeros(1, glances, self.glance.num_features, *self.map_size)
        local_features = like.new_zeros(1, frames, self.focus.num_features)
        return {
            "glance": (self.glance, (like.new_zeros(glances, 3, size, size),)),
            "policy": (self.policy, (maps, like.new_zeros(1, self.policy.width))),
            "focus": (self.focus, (like.new_zeros(frames, 3, self.patch, self.patch),)),
            "classifier": (self.head, (maps.mean((3, 4)), local_features)),
        }

    def calls_per_clip(self) -> dict[str, int]:
        """Return 1 for each component: a call processes the whole clip."""
        return dict.fromkeys(("glance", "policy", "focus", "classifier"), 1)
