"""Training: what moves in which stage, rewards, resumption, and a policy that finds a bright square."""

from __future__ import annotations

import copy
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader

from vidcore import Task
from vidcore.backbones import build_backbone
from vidcore.batch import Batch
from vidcore.errors import UserError
from vidcore.testing import tiny_batch
from vidcore_adafocus import AdaFocusModule, Reinforce, Stages
from vidcore_adafocus.module import _unshifted
from vidcore_adafocus.policies import GridPolicy
from vidcore_adafocus.reinforce import ppo_loss, returns, truth, whitened

SMALL: dict[str, Any] = {
    "clip": {"segments": 3, "size": 64},
    "glance": "mobilenet_v2",
    "focus": "mobilenet_v2",
    "policy_width": 16,
    "head_width": 16,
    "optim": {"name": "sgd", "lr": 0.01, "warmup": 0.0},
}
ONE_EACH = Stages(1, 1, 1, 1)
BATCH = tiny_batch(rows=3, frames=3, size=64, classes=3)


def small(variant: str = "v1", **options: Any) -> AdaFocusModule:
    torch.manual_seed(0)
    return AdaFocusModule(Task.numbered(3), variant, **{"stages": ONE_EACH, **SMALL, **options})


def fit(module: AdaFocusModule, folder: Path, batches: int = 1, **arguments: Any) -> Trainer:
    trainer = Trainer(
        **{
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": bool(arguments.get("callbacks"))
            and any(isinstance(one, ModelCheckpoint) for one in arguments["callbacks"]),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "max_epochs": 4,
            "default_root_dir": folder,
            **{name: value for name, value in arguments.items() if name != "ckpt_path"},
        }
    )
    copies: Any = [copy.deepcopy(BATCH) for _ in range(batches)]
    for number, batch in enumerate(copies):  # each another
        batch["inputs"]["rgb"] = batch["inputs"]["rgb"].roll(number, -1)
    trainer.fit(module, DataLoader(copies, batch_size=None), ckpt_path=arguments.get("ckpt_path"), weights_only=True)
    return trainer


class Moved(Callback):
    """By stage, the parts of which some, and of which all parameters changed, and of which statistics did."""

    def __init__(self) -> None:
        self.some: dict[str, set[str]] = {}
        self.all: dict[str, set[str]] = {}
        self.statistics: dict[str, set[str]] = {}
        self.steps: list[int] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.before = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        parameters = {name for name, _ in pl_module.named_parameters()}
        changed: dict[str, list[bool]] = {}
        statistics = set()
        for name, value in pl_module.state_dict().items():
            part = ".".join(name.split(".")[:2])
            if name in parameters:
                # With temporal shift the policy decides once: there is no memory for these weights to multiply.
                idle = pl_module.net.config.shift and name == "net.policy.gru.weight_hh_l0"
                changed.setdefault(part, []).append(not torch.equal(value, self.before[name]) or idle)
            elif "running" in name and not torch.equal(value, self.before[name]):
                statistics.add(part)
        stage = pl_module.training_stage
        self.some[stage] = {part for part, flags in changed.items() if sum(flags) > 1}
        self.all[stage] = {part for part, flags in changed.items() if all(flags)}
        self.statistics[stage] = statistics
        self.steps.append(trainer.global_step)


@pytest.mark.parametrize("variant", ["v1", "v1_tsm"])
def test_each_stage_moves_all_that_it_should_and_nothing_else(variant: str, tmp_path: Path) -> None:
    moved = Moved()
    fit(small(variant, reinforce=Reinforce(epochs=2)), tmp_path, callbacks=[moved])
    aux = {"net.head"} if variant == "v1_tsm" else {"aux.glance", "aux.focus"}
    wanted = {
        "backbones": {"net.glance", "net.focus", *aux},
        "windows": {"net.focus", "net.head"},
        "policy": {"net.policy"},
        "finetuning": {"net.focus", "net.head"},
    }
    assert moved.some == wanted
    assert moved.all == wanted
    of_policy = {"net.policy"} if variant == "v1_tsm" else set()  # the grid's policy has no normalisation
    assert moved.statistics == {
        "backbones": {"net.glance", "net.focus"},
        "windows": {"net.focus"},
        "policy": of_policy,
        "finetuning": {"net.focus"},
    }
    assert moved.steps == [1, 2, 3, 4]  # one per batch, though the policy's optimiser makes two steps per batch


@pytest.mark.parametrize("variant", ["v2", "v2_tsm"])
def test_all_of_v2_moves_at_its_own_rate(variant: str, tmp_path: Path) -> None:
    moved, module = Moved(), small(variant)
    trainer = fit(module, tmp_path, callbacks=[moved], max_epochs=1)
    assert moved.all[""] == {"net.glance", "net.focus", "net.policy", "net.head", "aux.glance", "aux.focus"}
    rates = {"glance": 0.5, "focus": 1.0, "policy": 0.1, "head": 5.0}
    names = {parameter: name for name, parameter in module.named_parameters()}
    for group in trainer.optimizers[0].param_groups:
        for parameter in group["params"]:
            assert group["initial_lr"] == pytest.approx(0.01 * rates[names[parameter].split(".")[1]])


def test_a_policy_that_skips_learns_both_decisions(tmp_path: Path) -> None:
    moved = Moved()
    fit(small("v1", skips=True, reinforce=Reinforce(epochs=2, look_cost=0.1)), tmp_path, callbacks=[moved])
    assert moved.all["policy"] == {"net.policy"}
    assert moved.all["windows"] - {"net.nothing"} == {"net.focus", "net.head"}
    assert "net.nothing" not in moved.all["policy"]


@torch.no_grad()
def test_a_look_costs_reward() -> None:
    rewards = []
    for cost in (0.0, 0.3):
        module = small("v1", skips=True, reinforce=Reinforce(reward="raw", look_cost=cost)).eval()
        maps = module.net.global_features(BATCH["inputs"]["rgb"])
        positions = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(0))
        rewards.append(module.rewards(BATCH, maps, positions))
    looks = module.net.focus_mask(positions)
    assert looks is not None and looks.any() and not looks.all()
    torch.testing.assert_close(rewards[0] - rewards[1], 0.3 * looks)


def test_the_authors_last_stage_trains_the_classifier_alone(tmp_path: Path) -> None:
    moved = Moved()
    fit(small(stages=Stages(1, 1, 1, 1, finetune_focus=False)), tmp_path, callbacks=[moved])
    assert moved.some["finetuning"] == {"net.head"} and moved.statistics["finetuning"] == set()


def test_the_policy_of_v2_does_not_pull_at_the_glance_network() -> None:
    module = small("v2").train()
    video = BATCH["inputs"]["rgb"]
    maps = module.net.global_features(video)
    positions, _ = module.net.policy(maps.detach(), torch.zeros(3, 16))
    focuses = module.net.local_features(video, module.net.corners(positions, video))
    focuses.square().sum().backward()
    assert all(parameter.grad is None for parameter in module.net.glance.parameters())
    gradient = module.net.policy.actor.weight.grad
    assert gradient is not None and gradient.abs().sum() > 0


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_training_goes_on_from_every_stage_to_the_same_weights(epoch: int, tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, every_n_epochs=1)
    whole = small()
    fit(whole, tmp_path, batches=2, callbacks=[keep])
    saved = tmp_path / f"epoch={epoch}.ckpt"
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == [f"epoch={number}.ckpt" for number in range(4)]
    resumed = small()
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.zero_()
    fit(resumed, tmp_path / "again", batches=2, ckpt_path=str(saved))
    theirs = whole.state_dict()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, theirs[name]), name


def test_every_part_has_the_rate_that_a_resumed_training_asks_for(tmp_path: Path) -> None:
    class Watch(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            found = {id(p): group["lr"] for group in trainer.optimizers[0].param_groups for p in group["params"]}
            parts = trainer.lightning_module.named_parameters()
            self.seen.append({name.split(".")[1]: round(found[id(p)], 9) for name, p in parts})

        def __init__(self) -> None:
            self.seen: list[dict[str, float]] = []

    options = {"name": "sgd", "lr": 0.01, "warmup": 0.0, "schedule": "constant"}
    fit(small("v2", optim=options), tmp_path, max_epochs=1).save_checkpoint(tmp_path / "begun.ckpt")
    watch, rates = Watch(), {"glance": 1.0, "focus": 2.0, "policy": 3.0, "head": 4.0}
    module = small("v2", optim=options | {"lr": 0.001}, rates=rates)
    fit(module, tmp_path, max_epochs=2, callbacks=[watch], ckpt_path=tmp_path / "begun.ckpt")
    assert watch.seen == [{part: round(0.001 * share, 9) for part, share in rates.items()}]


def test_a_later_stage_starts_from_a_checkpoint_of_an_earlier_one(tmp_path: Path) -> None:
    first = small()
    trainer = fit(first, tmp_path, max_epochs=2)
    path = tmp_path / "windows.ckpt"
    trainer.save_checkpoint(path)
    moved, second = Moved(), small(stages=Stages(0, 0, 1, 1), weights=str(path))
    fit(second, tmp_path, callbacks=[moved], max_epochs=2)
    assert list(moved.some) == ["policy", "finetuning"]
    glance = {name: value for name, value in first.state_dict().items() if name.startswith("net.glance")}
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in glance.items())


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        (Stages(0, 1, 1, 1), "stage windows goes on with what stage backbones has trained.*or pretrained: true"),
        (Stages(1, 0, 1, 1), "stage policy goes on with what stage windows has trained.*stages.windows: 0"),
        (Stages(1, 1, 0, 1), "stage finetuning goes on with what stage policy"),
    ],
)
def test_a_stage_without_its_predecessor(stages: Stages, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        fit(small(stages=stages), tmp_path)


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_windows_to_compare_with_need_no_stage_of_the_policy(variant: str, tmp_path: Path) -> None:
    moved, module = Moved(), small(variant, windows="centre")
    fit(module, tmp_path, callbacks=[moved])
    assert list(moved.some) == (["backbones", "windows", "finetuning"] if variant == "v1" else [""])


class SaveRank(Callback):
    """Writes the policy of each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        torch.save(pl_module.net.policy.state_dict(), self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.skipif(sys.platform != "linux", reason="needs to fork")
def test_processes_learn_one_policy(tmp_path: Path) -> None:
    ddp = DDPStrategy(
        start_method="fork",
        process_group_backend="gloo",
        cluster_environment=LightningEnvironment(),
        timeout=timedelta(seconds=60),
    )
    module = small(stages=Stages(1, 1, 2, 0), reinforce=Reinforce(epochs=2))
    before = copy.deepcopy(module.net.policy.state_dict())
    with mock.patch.dict(os.environ):
        fit(module, tmp_path, batches=2, callbacks=[SaveRank(tmp_path)], strategy=ddp, devices=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["actor.weight"], before["actor.weight"])


@pytest.mark.parametrize("reward", ["random", "previous", "raw"])
@pytest.mark.parametrize("variant", ["v1", "v1_tsm"])
@torch.no_grad()
def test_rewards_against_a_slow_loop(variant: str, reward: Any) -> None:
    module = small(variant, reinforce=Reinforce(reward=reward)).eval()
    net, video, target = module.net, BATCH["inputs"]["rgb"], BATCH["target"]
    maps = net.global_features(video)
    steps = 1 if variant == "v1_tsm" else 3
    positions = torch.rand(3, steps, 2)
    torch.manual_seed(5)
    found = module.rewards(BATCH, maps, positions)
    torch.manual_seed(5)
    other = torch.rand(3, steps, 2)
    assert found.shape == (3, steps)

    def confidence(places: Tensor, step: int) -> Tensor:
        focuses = net.local_features(video, net.corners(places, video))
        logits = net.classify(maps, focuses)
        return truth(logits if logits.dim() == 3 else logits[:, None], target)[:, step]

    for step in range(steps):
        wanted = confidence(positions, step)
        if reward == "random":  # all windows before are the policy's own
            mixed = torch.cat([positions[:, :step], other[:, step : step + 1], positions[:, step + 1 :]], 1)
            wanted = wanted - confidence(mixed, step)
        elif reward == "previous" and step:
            wanted = wanted - confidence(positions, step - 1)
        torch.testing.assert_close(found[:, step], wanted, rtol=0, atol=1e-5)


def test_a_policy_learns_where_the_bright_square_is() -> None:
    """The reward is how much of the square is in the window; only training can put the window there."""
    torch.manual_seed(0)
    policy = GridPolicy(1, (8, 8), channels=8, width=64, places=25)
    optimizer, how = torch.optim.Adam(policy.parameters(), lr=2e-3), Reinforce(epochs=3)

    def squares(rows: int) -> tuple[Tensor, Tensor]:
        places = torch.randint(25, (rows, 2))
        maps = torch.zeros(rows, 2, 1, 8, 8)
        for step in range(2):
            y, x = places[:, step] // 5, places[:, step] % 5
            maps[torch.arange(rows), step, 0, y + 1, x + 1] = 3.0
        return maps, places

    shares = []
    for _ in range(250):
        maps, places = squares(64)
        old = None
        for _ in range(how.epochs):
            features, _ = policy.encode(maps, torch.zeros(64, 64))
            chosen = policy.distribution(features)
            if old is None:
                actions = chosen.sample()
                wanted = whitened(returns((actions == places).float(), 0.0))
                old = chosen.log_prob(actions).detach()
            log_prob = chosen.log_prob(actions)
            loss, clipped = ppo_loss(log_prob, old, policy.value(features), wanted, chosen.entropy(), how)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        shares.append(float(clipped))
    maps, places = squares(500)
    with torch.no_grad():
        found, _ = policy(maps, torch.zeros(500, 64))
    hits = (found == policy.positions(places)).all(-1).float().mean()
    assert max(shares) > 0
    assert float(hits) > 0.95


def test_pretrained_backbones_keep_their_values_when_they_shift() -> None:
    plain, shifted = build_backbone("mobilenet_v2"), build_backbone("mobilenet_v2", frames=2)
    shifted.load_state_dict(_unshifted(plain, shifted))
    for mine, theirs in zip(shifted.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_pretrained_backbones_are_fetched_when_training_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def build(name: str, pretrained: bool = False, frames: int = 0) -> Any:
        asked.append((name, pretrained))
        backbone = build_backbone(name, frames=frames)
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.fill_(0.01)
        return backbone

    module = small("v2", pretrained=True)
    assert asked == []
    monkeypatch.setattr("vidcore_adafocus.module.build_backbone", build)
    moved = Moved()
    trainer = fit(module, tmp_path, callbacks=[moved], max_epochs=1)
    assert asked == [("mobilenet_v2", True)] * 2
    assert float(moved.before["net.focus.backbone.features.0.0.weight"].mean()) == pytest.approx(0.01)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    fit(small("v2", pretrained=True), tmp_path, ckpt_path=str(tmp_path / "last.ckpt"), max_epochs=2)
    assert len(asked) == 2


def test_options_that_do_not_fit_the_clip() -> None:
    with pytest.raises(UserError, match="window of 96 × 96 pixels does not fit a frame of 64 × 64"):
        small(patch=96)
    batch: Batch = tiny_batch(rows=2, frames=2, size=64, classes=3)
    with pytest.raises(UserError, match="clips of 3 frames, got 2"):
        small()(batch)


def test_published_figures_are_of_the_authors_networks_only() -> None:
    task = Task.numbered(200)
    assert AdaFocusModule(task, "v2").published() == {"gmacs": 27.0, "map": 79.0}
    assert small("v2").published() == {}
    with torch.device("meta"):
        tsm = AdaFocusModule(AdaFocusModule.reference("v2_tsm"), "v2_tsm")
    assert tsm.published() == {"gmacs": 18.5, "top1": 59.6}


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"glance": "mobilenet_v2", "focus": "resnet50", "order": "time", "places": 49, "dropout": 0.1}, True),
        ({"focus": "resnet18"}, False),
        ({"glance": "resnet18"}, False),
        ({"glance_size": 96}, False),
        ({"policy_width": 64}, False),
        ({"head_width": 64}, False),
        ({"windows": "centre"}, False),
        ({"order": "middle_first"}, False),
        ({"places": 25}, False),
        ({"exit_by": "max_softmax"}, False),
        ({"clip": {"size": 192}}, False),
        ({"clip": {"segments": 8}}, False),
        ({"clip": {"short_side": 224}}, False),
        ({"task": Task.numbered(10)}, False),
    ],
)
def test_options_that_change_the_network_hide_published_figures(variant: str, options: Any, same: bool) -> None:
    with torch.device("meta"):
        module = AdaFocusModule(**{"task": AdaFocusModule.reference(variant), "variant": variant, **options})
    assert bool(module.published()) == same
    if not same:
        assert module.family() == []


def test_a_policy_that_skips_is_not_the_authors() -> None:
    with torch.device("meta"):
        module = AdaFocusModule(Task.numbered(200), "v1", skips=True)
    assert (module.published(), module.family()) == ({}, [])


def test_classifiers_that_serve_training_alone_are_not_counted() -> None:
    module = small("v1")
    of_training = sum(parameter.numel() for parameter in module.aux.parameters())
    everything = sum(parameter.numel() for parameter in module.parameters())
    assert module.num_parameters() == everything - of_training < everything


def test_family_is_what_is_counted() -> None:
    module = AdaFocusModule(Task.numbered(200), "v1", patch=160)
    family = module.family()
    assert [row["patch"] for row in family] == [96, 128, 160, 192]
    assert family[2]["gmacs"] == pytest.approx(module.macs_per_clip() / 1e9)
    assert family[2]["gmacs"] == pytest.approx(family[2]["published_gmacs"], rel=5e-3)
    assert small("v1").family() == []  # no window of the authors fits a frame of 64 pixels


@torch.no_grad()
def test_a_copy_for_inference_streams_through_its_own_network() -> None:
    module = small("v2").eval()
    copied = module.for_inference()
    frames = torch.randn(1, 3, 1, 64, 64)
    expected = module.step(frames, module.init_state(1, (64, 64)))[0].logits
    torch.testing.assert_close(
        copied.step(frames, copied.init_state(1, (64, 64)))[0].logits, expected, rtol=0, atol=1e-4
    )
    for parameter in copied.net.head.parameters():
        parameter.zero_()
    assert not copied.step(frames, copied.init_state(1, (64, 64)))[0].logits.any() and expected.any()
