"""AdaFocus as a plugin of vidcore."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from vidcore.backbones import build_backbone
from vidcore.batch import Batch, Output
from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.flops import count_macs, parameters
from vidcore.module import VideoModule
from vidcore.ranges import check_ranges
from vidcore.streaming import State
from vidcore.task import Task
from vidcore.training.optim import Optim, Stage
from vidcore_adafocus.exits import Criterion
from vidcore_adafocus.heads import RecurrentHead
from vidcore_adafocus.network import AdaFocusNet, PerFrameNet
from vidcore_adafocus.policies import LearntPolicy
from vidcore_adafocus.reinforce import Reinforce, ppo_loss, returns, truth, whitened
from vidcore_adafocus.variants import PUBLISHED, AdaFocusConfig, Order, Published, Windows, find_variant
from vidcore_adafocus.windows import boxes_of

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Stages:
    """The stages of V1's training: epochs of each, 0 leaves it out, and its learning rate.

    Args:
        backbones: Both backbones by themselves, on whole frames.
        windows: Focus network and classifier, with windows at random places.
        policy: The policy, by reinforcement.
        finetuning: Focus network and classifier, with the policy's windows; to the end of training.
        backbones_lr: Learning rate of the first.
        windows_lr: Of the classifier in the second.
        policy_lr: Of the third, with Adam.
        finetuning_lr: Of the classifier in the last.
        focus: Learning rate of the focus network in both as a share of the classifier's.
        finetune_focus: Whether the last stage trains the focus network too, as the paper has it; the authors' code
            trains the classifier alone.
    """

    backbones: int = 15
    windows: int = 50
    policy: int = 50
    finetuning: int = 10
    backbones_lr: float = 0.01
    windows_lr: float = 0.05
    policy_lr: float = 3e-4
    finetuning_lr: float = 5e-3
    focus: float = 0.01
    finetune_focus: bool = True

    def __post_init__(self) -> None:
        numbers = (field.name for field in fields(self) if field.name != "finetune_focus")
        check_ranges(vars(self), dict.fromkeys(numbers, "[0, inf)"), "stages.")

    @classmethod
    def of(cls, value: Stages | Mapping[str, Any]) -> Stages:
        """The record itself, or the one that a checkpoint holds as a mapping."""
        return value if isinstance(value, Stages) else cls(**value)


@dataclass(frozen=True)
class Rates:
    """Learning rates of V2's parts as shares of ``optim.lr``."""

    glance: float = 0.5
    focus: float = 1.0
    policy: float = 0.1
    head: float = 5.0

    def __post_init__(self) -> None:
        check_ranges(vars(self), dict.fromkeys(vars(self), "[0, inf)"), "rates.")

    @classmethod
    def of(cls, value: Rates | Mapping[str, Any]) -> Rates:
        """The record itself, or the one that a checkpoint holds as a mapping."""
        return value if isinstance(value, Rates) else cls(**value)


class AdaFocusModule(VideoModule):
    """AdaFocus V1, trained in stages, or V2, trained in one.

    Args:
        task: What is predicted.
        variant: See [`AdaFocusNet`][vidcore_adafocus.AdaFocusNet], as for all that follow up to ``order``.
        patch: Side of the window in pixels.
        glance: Backbone that sees whole frames.
        focus: Backbone that sees windows.
        glance_size: Size of the frames that it sees.
        glance_frames: How many of them, with temporal shift.
        places: Of V1's grid.
        policy_width: Of the policy's hidden layers.
        head_width: Of the classifier's hidden layer.
        dropout: Before the classifier.
        windows: ``learnt``, or for comparison ``centre``, ``random`` or ``gaussian``.
        skips: Whether V1's policy leaves frames out; what a look costs in its reward is ``reinforce.look_cost``.
        order: ``time`` or ``middle_first``.
        pretrained: Training begins with backbones that were trained on ImageNet, by torchvision.
        stages: Of V1's training.
        reinforce: How V1's policy learns.
        rates: Of V2's training.
        exit_by: Evaluation stops where it is confident by this measure, with the checkpoint's thresholds.
        **kwargs: See [`vidcore.VideoModule`][vidcore.module.VideoModule].

    Raises:
        OptionError: A value outside its range or its choices, or a window that does not fit the clip.
    """

    streams_with = "--model.variant v1, v2 or v2_rn and --model.order time"
    RANGES: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("glance_size", "glance_frames", "policy_width", "head_width"), "[1, 10000]"),
        "dropout": "[0, 1)",
    }

    def __init__(
        self,
        task: Task,
        variant: str = "v2",
        patch: int | None = None,
        glance: str | None = None,
        focus: str | None = None,
        glance_size: int | None = None,
        glance_frames: int | None = None,
        places: int = 49,
        policy_width: int | None = None,
        head_width: int | None = None,
        dropout: float | None = None,
        windows: Windows = "learnt",
        skips: bool = False,
        order: Order = "time",
        pretrained: bool = False,
        stages: Stages = Stages(),
        reinforce: Reinforce = Reinforce(),
        rates: Rates = Rates(),
        exit_by: Criterion | None = None,
        **kwargs: Any,
    ) -> None:
        spec = find_variant(variant)
        wanted = ClipSpec(
            segments=spec.frames, frames=1, size=224, short_side=256, mean=IMAGENET_MEAN, std=IMAGENET_STD
        )
        super().__init__(task, wanted, **kwargs)
        clip = self.clip_spec
        self.net = AdaFocusNet(
            AdaFocusConfig.of(
                variant, num_classes=self.task.num_classes, frames=clip.num_frames, size=clip.size, patch=patch,
                glance=glance, focus=focus, glance_size=glance_size, glance_frames=glance_frames, places=places,
                policy_width=policy_width, head_width=head_width, dropout=dropout, windows=windows, skips=skips,
                order=order,
            )
        )  # fmt: skip
        self.net.exit_by = exit_by
        self._fresh = True
        self.variant = variant
        self.pretrained, self.lengths = pretrained, Stages.of(stages)
        self.reinforce, self.rates = Reinforce.of(reinforce), Rates.of(rates)
        self.aux = nn.ModuleDict()
        """Classifiers of single frames, for training only."""
        if not (spec.shift and spec.version == 1):
            features = {"glance": self.net.glance.num_features, "focus": self.net.focus.num_features}
            self.aux.update({name: nn.Linear(width, self.task.num_classes) for name, width in features.items()})
        if self.net.streams:  # here, not as methods: others must not look as if they streamed
            self.init_state, self.step = self.net.init_state, self._step

    def forward(self, batch: Batch) -> Output:
        """Logits, windows and how often each part ran, of whole clips."""
        return self.net(batch["inputs"]["rgb"])

    def _step(self, frames: Tensor, state: State) -> tuple[Output, State]:
        """See [`vidcore.streaming.Streaming.step`][]; with the usage and the windows of these frames."""
        return step_output(cast(PerFrameNet, self.net), frames, state)

    def for_inference(self) -> Self:
        """A copy whose network is [`folded`][vidcore_adafocus.AdaFocusNet.folded]."""
        return self.with_net(self.net.folded())

    def components(self) -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
        """Glance network, policy, focus network and classifier; by frame, or with temporal shift by clip."""
        return self.net.components()

    def calls_per_clip(self) -> dict[str, int]:
        """Each part once a frame, or with temporal shift once a clip."""
        return self.net.calls_per_clip()

    @classmethod
    def reference(cls, variant: str = "v2", **options: Any) -> Task:
        """Return ActivityNet-v1.3's number of classes, or with temporal shift Something-Something V2's."""
        return Task.numbered(find_variant(variant).classes)

    def num_parameters(self) -> int:
        """Parameters of the network, without the classifiers of single frames that serve training alone."""
        return parameters(self.net)

    def _is_authors(self) -> bool:
        """Whether this is the authors' network on their clip, with a window of any size."""
        config = self.net.config
        authors = AdaFocusConfig.of(config.variant, num_classes=config.num_classes, patch=config.patch)
        same = replace(config, dropout=authors.dropout) == authors  # dropout serves training alone
        return same and self.is_reference() and self.net.exit_by is None

    def published(self) -> dict[str, float]:
        """Return the authors' figures if this is their network on their clip."""
        config = self.net.config
        rows = PUBLISHED[config.variant] if self._is_authors() else ()
        return next((_figures(row, config.shift) for row in rows if row.patch == config.patch), {})

    def family(self) -> list[dict[str, Any]]:
        """The authors' windows for this variant, with what they cost here; none where the network is not theirs."""
        if not self._is_authors():
            return []
        costs, calls = self.costs(), self.calls_per_clip()
        rest = sum(calls[name] * cost for name, cost in costs.items() if name != "focus")
        rows = []
        for found in PUBLISHED[self.variant]:
            windows = self.net.exit_thresholds.new_zeros(self.net.frames, 3, found.patch, found.patch)
            gmacs = (rest + count_macs(self.net.focus, (windows,)).total) / 1e9
            figures = _figures(found, self.net.config.shift)
            row = {"variant": self.variant, "patch": found.patch, "gmacs": gmacs, "published_gmacs": figures["gmacs"]}
            rows.append({**row, **{name: figures.get(name) for name in ("top1" if self.net.config.shift else "map",)}})
        return rows

    # Training.

    def setup(self, stage: str) -> None:
        """Sees all frames in training: thresholds are found when it is over."""
        super().setup(stage)
        if stage == "fit":
            self.net.exit_by = None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes that there is something to go on with."""
        super().on_load_checkpoint(checkpoint)
        self._fresh = False

    def on_fit_start(self) -> None:
        """Loads the backbones' weights at the start of a training, and refuses a stage without those before it.

        Raises:
            UserError: See there, or weights that cannot be had.
        """
        if self._fresh and self.weights is None:
            self._check_stages()
            if self.pretrained:
                for name, part in ((self.net.config.glance, self.net.glance), (self.net.config.focus, self.net.focus)):
                    part.backbone.load_state_dict(_unshifted(build_backbone(name, pretrained=True), part.backbone))
        super().on_fit_start()

    def _check_stages(self) -> None:
        lengths, learnt = asdict(self.lengths), isinstance(self.net.policy, LearntPolicy)
        names = ("backbones", "windows", *(("policy",) if learnt else ()), "finetuning")
        if self.net.config.version == 2:
            return
        have = {"backbones"} if self.pretrained else set()
        for before, name in itertools.pairwise(names):
            have |= {before} if lengths[before] else set()
            if lengths[name] and before not in have:
                raise UserError(
                    f"stage {name} goes on with what stage {before} has trained, which is left out "
                    f"(stages.{before}: 0): give a checkpoint of it by weights"
                    + (", or pretrained: true" if before == "backbones" else "")
                )

    def stages(self) -> Sequence[Stage]:
        """Return V1's stages, or the only one of V2, which has no name."""
        lengths, optim = self.lengths, self.optim
        if self.net.config.version == 2:
            trained = {name for name in asdict(self.rates) if any(True for _ in getattr(self.net, name).parameters())}
            # Three characters: net and aux.
            rates = {f"???.{name}.*": rate for name, rate in asdict(self.rates).items() if name in trained}
            return (Stage("", 0, replace(optim, factors={**optim.factors, **rates})),)
        adam = Optim("adamw", lengths.policy_lr, weight_decay=0.0, schedule="constant", warmup=0.0)
        classifier = ("net.head.*", *(("net.nothing",) if self.net.config.skips else ()))
        classified = (*classifier, "net.focus.*")
        last = classified if lengths.finetune_focus else classifier
        factors = {**optim.factors, "net.focus.*": lengths.focus, **dict.fromkeys(classifier, 1.0)}
        heads = ("net.head.*",) if self.net.config.shift else ("aux.*",)
        found = (
            Stage(
                "backbones",
                lengths.backbones,
                replace(optim, lr=lengths.backbones_lr),
                ("net.glance.*", "net.focus.*", *heads),
            ),
            Stage("windows", lengths.windows, replace(optim, lr=lengths.windows_lr, factors=factors), classified),
            Stage("policy", lengths.policy, adam, ("net.policy.*",), steps_per_batch=self.reinforce.epochs),
            Stage("finetuning", lengths.finetuning, replace(optim, lr=lengths.finetuning_lr, factors=factors), last),
        )
        learnt = isinstance(self.net.policy, LearntPolicy)
        return [stage for stage in found if stage.epochs and (learnt or stage.name != "policy")]

    @property
    def training_stage(self) -> str:
        """Name of the stage that training is in; empty for V2."""
        return self.stages()[self._stage].name

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch in the stage that training is in."""
        steps = {
            "": self._whole_step,
            "backbones": self._backbones_step,
            "windows": self._windows_step,
            "policy": self._policy_step,
            "finetuning": self._finetuning_step,
        }
        losses = steps[self.training_stage](batch)
        loss = torch.stack(list(losses.values())).sum()
        rows = len(batch["ids"])
        for name, term in losses.items():
            self.log(f"train/{name}", term.detach(), batch_size=rows)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=rows)
        return loss

    def criterion(self, logits: Tensor, batch: Batch) -> Tensor:
        """The task's loss of logits (B, K) or of each step's (B, T, K), for which targets are repeated."""
        times = logits.shape[1:-1].numel()
        repeated: Batch = {**batch, "target": batch["target"].repeat_interleave(times, 0)}  # type: ignore[typeddict-item]
        return self.loss(Output(logits.flatten(0, -2)), repeated)

    def _auxiliary_loss(self, part: Literal["glance", "focus"], features: Tensor, batch: Batch) -> Tensor:
        """The loss of a backbone by itself: each frame has the clip's label; with temporal shift their mean."""
        logits = self.aux[part](features)
        return self.criterion(logits.mean(1) if self.net.config.shift else logits, batch)

    def _whole_step(self, batch: Batch) -> dict[str, Tensor]:
        """V2: with the policy's windows and with random ones, each by half."""
        net, video = self.net, batch["inputs"]["rgb"]
        maps = net.global_features(video)
        # The glance network serves the classifier, not the policy.
        positions, _ = net.policy(maps.detach(), video.new_zeros(len(video), net.policy.width))
        losses = {"glance": self._auxiliary_loss("glance", maps.mean((3, 4)), batch)}
        for name, places in (("policy", positions), ("random", torch.rand_like(positions))):
            local = net.local_features(video, net.corners(places, video))
            # With temporal shift the joint classifier trains alone, as in the official code.
            joint = net.classify(maps.detach(), local.detach()) if net.config.shift else net.classify(maps, local)
            losses[name] = (self.criterion(joint, batch) + self._auxiliary_loss("focus", local, batch)) / 2
        return losses

    def _backbones_step(self, batch: Batch) -> dict[str, Tensor]:
        """V1's first stage: each backbone's mean over whole frames."""
        net, video = self.net, batch["inputs"]["rgb"]
        glances = net.global_features(video).mean((3, 4))
        local = net.focus(video.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(video), -1))
        if net.config.shift:
            logits = {"glance": net.head.global_logits(glances), "focus": net.head.local_logits(local)}
        else:
            features = {"glance": glances, "focus": local}
            logits = {name: self.aux[name](value).mean(1) for name, value in features.items()}
        return {name: self.criterion(value, batch) for name, value in logits.items()}

    def _windows_step(self, batch: Batch) -> dict[str, Tensor]:
        """V1's second stage: windows at random places."""
        video = batch["inputs"]["rgb"]
        maps = self.net.global_features(video)
        return self._classified(batch, maps, self._anywhere(video))

    def _finetuning_step(self, batch: Batch) -> dict[str, Tensor]:
        """V1's last stage: windows where the policy wants them."""
        video = batch["inputs"]["rgb"]
        maps = self.net.global_features(video)
        return self._classified(
            batch, maps, self.net.policy(maps, video.new_zeros(len(video), self.net.policy.width))[0]
        )

    def _anywhere(self, video: Tensor) -> Tensor:
        """Random positions, one a frame, or with temporal shift one a clip; where frames are skipped, half of them."""
        shape = (len(video), 1 if self.net.config.shift else video.shape[2], 3 if self.net.config.skips else 2)
        return torch.rand(shape, device=video.device)

    def _classified(self, batch: Batch, maps: Tensor, positions: Tensor) -> dict[str, Tensor]:
        video = batch["inputs"]["rgb"]
        local = self.net.local_features(video, self.net.corners(positions, video), self.net.focus_mask(positions))
        return {"classifier": self.criterion(self.net.classify(maps, local), batch)}

    # V1's policy.

    def _policy_step(self, batch: Batch) -> dict[str, Tensor]:
        """V1's third stage: the first step of a batch draws windows, all steps learn from their rewards."""
        net, video, how, rows = self.net, batch["inputs"]["rgb"], self.reinforce, len(batch["ids"])
        policy = net.policy
        assert isinstance(policy, LearntPolicy)
        first = self.step_in_batch == 0
        if first:
            with torch.no_grad():
                self._maps = net.global_features(video)
        features, _ = policy.encode(self._maps, video.new_zeros(len(video), policy.width))
        chosen = policy.distribution(features)
        if first:
            actions = chosen.sample()
            with torch.no_grad():
                reward = self.rewards(batch, self._maps, policy.positions(actions))
            self.log("train/reward", reward.mean(), batch_size=rows)
            self._drawn = actions, whitened(returns(reward, how.discount)), chosen.log_prob(actions).detach()
        actions, wanted, old = self._drawn
        log_prob = chosen.log_prob(actions)
        loss, clipped = ppo_loss(log_prob, old, policy.value(features), wanted, chosen.entropy(), how)
        self.log("train/clipped", clipped, batch_size=rows)
        return {"policy": loss}

    def rewards(self, batch: Batch, maps: Tensor, positions: Tensor) -> Tensor:
        """What each step's position (B, T, 2 or 3) is worth, (B, T) or with temporal shift (B, 1)."""
        mask, gain = self.net.focus_mask(positions), self._gains(batch, maps, positions)
        return gain if mask is None else gain - self.reinforce.look_cost * mask

    def _gains(self, batch: Batch, maps: Tensor, positions: Tensor) -> Tensor:
        """What each step gains in confidence (B, T)."""
        net, video, how = self.net, batch["inputs"]["rgb"], self.reinforce

        def confidence(logits: Tensor) -> Tensor:
            steps = logits if logits.dim() == 3 else logits[:, None]
            return truth(steps, batch["target"], self.task.kind == "multi_label")

        local = net.local_features(video, net.corners(positions, video), net.focus_mask(positions))
        found = confidence(net.classify(maps, local))
        if how.reward == "raw":
            return found
        if how.reward == "previous":
            return found - F.pad(found[:, :-1], [1, 0])
        others = net.local_features(video, net.corners(self._anywhere(video), video))
        if net.config.shift:
            return found - confidence(net.classify(maps, others))
        assert isinstance(net.head, RecurrentHead)
        glances = maps.mean((3, 4))
        instead = net.head.counterfactual(torch.cat([glances, local], 2), torch.cat([glances, others], 2))
        return found - confidence(instead)


def _figures(found: Published, shift: bool) -> dict[str, float]:
    score = {} if found.score is None else {"top1" if shift else "map": found.score}
    return {"gmacs": found.gflops, **score}


def _unshifted(source: nn.Module, target: nn.Module) -> dict[str, Tensor]:
    """Weights of a backbone by the names of the same one with temporal shift."""
    return dict(zip(target.state_dict(), source.state_dict().values(), strict=True))


def step_output(net: PerFrameNet, frames: Tensor, state: State) -> tuple[Output, State]:
    """Call ``PerFrameNet.step``, and return with the logits the usage and the windows of these frames."""
    steps, corner, mask, state = net._step(frames, state, state["seen"])
    runs = torch.full((len(frames),), frames.shape[2], device=frames.device)
    usage = {**dict.fromkeys(net.calls_per_clip(), runs), "focus": runs if mask is None else mask.sum(1)}
    return Output(steps[:, -1], steps, usage=usage, trace={"windows": boxes_of(corner, net.patch, mask)}), state
