"""Optimisers that train in turns, several steps per batch, and learning-rate factors, against plain loops of torch."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from vidcore import ClipSpec, Optim, Output, Stage, Task, Turn, VideoModule
from vidcore.errors import UserError
from vidcore.testing import tiny_batch

EPOCH = 3
"""Batches of an epoch."""
CLIP = 0.05
SGD, ADAM = Optim("sgd", 0.1, warmup=0.0, schedule="constant"), Optim("adamw", 0.01, warmup=0.0, schedule="constant")


def batches():  # all the same: a plain loader starts again when it is resumed in the middle of an epoch
    return [tiny_batch(rows=2, frames=2, size=16, classes=3) for _ in range(EPOCH)]


class Adaptive(VideoModule):
    """Channels weighted by a policy, and a network that classifies them."""

    def __init__(self, task, stages=(), **kwargs):
        super().__init__(task, ClipSpec(frames=2, size=16), **kwargs)
        self.policy, self.main = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self._given, self.calls = stages, []

    def stages(self):
        return self._given

    def forward(self, batch):
        colours = batch["inputs"]["rgb"].mean((2, 3, 4))
        return Output(logits=self.main(colours * self.policy(colours).sigmoid()))

    def training_step(self, batch, batch_idx):
        self.calls.append((self.global_step, self.step_in_batch))
        return super().training_step(batch, batch_idx)


def fresh(stages):
    torch.manual_seed(0)
    return Adaptive(Task.numbered(3), stages)


def train(folder, stages, ckpt_path=None, **options):
    model = fresh(stages)
    trainer = Trainer(
        **{"max_epochs": 4, "gradient_clip_val": CLIP, **options},
        accelerator="cpu",
        logger=False,
        callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(copy.deepcopy(batches()), batch_size=None)
    trainer.fit(model, loader, ckpt_path=ckpt_path, weights_only=True)
    return trainer, model


def reference(turn_of, steps=12, repeats=1, factors=None):
    """A plain loop with one optimiser per part; ``turn_of`` gives the part that trains from the step, None: both."""
    model, data = fresh(()), batches()
    model.train()
    optimizers = {
        "policy": torch.optim.SGD(
            [{"params": [model.policy.weight], "weight_decay": 0.05}, {"params": [model.policy.bias]}],
            lr=0.1 * (factors or {}).get("policy", 1.0),
            momentum=0.9,
            nesterov=True,
        ),
        "main": torch.optim.AdamW(
            [{"params": [model.main.weight], "weight_decay": 0.05}, {"params": [model.main.bias], "weight_decay": 0.0}],
            lr=0.01 * (factors or {}).get("main", 1.0),
        ),
    }
    for step in range(steps):
        for _ in range(repeats):
            turn = turn_of(step)
            chosen = [name for name in optimizers if turn in (None, name)]
            batch = model.normalised(copy.deepcopy(data[step % EPOCH]))
            model.zero_grad()
            model.loss(model(batch), batch).backward()
            weights = [weight for name in chosen for weight in getattr(model, name).parameters()]
            torch.nn.utils.clip_grad_norm_(weights, CLIP)
            for name in chosen:
                optimizers[name].step()
    return model


def assert_same(ours, theirs, exact=False):
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-5, "atol": 1e-7}
    torch.testing.assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()), **tolerance)


ALTERNATING = Stage("alternating", 4, turns=(Turn(SGD, ("policy.*",)), Turn(ADAM, ("main.*",))))


@pytest.mark.parametrize(
    ("turn_steps", "turn_of"),
    [
        (0, lambda step: ("policy", "main")[step // EPOCH % 2]),
        (1, lambda step: ("policy", "main")[step % 2]),
        (2, lambda step: ("policy", "main")[step // 2 % 2]),
    ],
)
def test_optimisers_in_turns_keep_their_momentum(tmp_path, turn_steps, turn_of):
    stages = (replace(ALTERNATING, turn_steps=turn_steps),)
    trainer, whole = train(tmp_path / "whole", stages)
    assert trainer.global_step == 12
    assert_same(whole, reference(turn_of))
    for step in (1, 4, 5, 6, 8):
        _, resumed = train(tmp_path / f"{step}", stages, tmp_path / "whole" / f"step={step}.ckpt")
        assert_same(resumed, whole, exact=True)


def test_turns_begin_with_their_stage(tmp_path):
    first = Stage("first", 1, SGD, trains=("policy.*",))
    _, model = train(tmp_path, (first, ALTERNATING), max_epochs=2)
    _, alone = train(tmp_path / "alone", (first, replace(ALTERNATING, turns=ALTERNATING.turns[:1])), max_epochs=2)
    assert_same(model, alone, exact=True)
    torch.testing.assert_close(model.main.weight, fresh(()).main.weight, rtol=0, atol=0)


def test_each_turn_follows_its_own_schedule_over_the_whole_stage(tmp_path):
    turns = (Turn(SGD, ("policy.*",)), Turn(replace(ADAM, schedule="cosine"), ("main.*",)))
    trainer, _ = train(tmp_path, (replace(ALTERNATING, turns=turns),), max_epochs=2)
    rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
    assert rates == [pytest.approx(0.1)] * 2 + [pytest.approx(0.0, abs=1e-12)] * 2


def test_turns_on_two_processes(tmp_path):
    ddp = DDPStrategy(start_method="fork", process_group_backend="gloo", cluster_environment=LightningEnvironment())
    stages = (replace(ALTERNATING, turn_steps=2),)
    train(tmp_path / "one", stages)
    train(tmp_path / "two", stages, strategy=ddp, devices=2, use_distributed_sampler=False)
    one, two = (torch.load(tmp_path / name / "step=12.ckpt", weights_only=True) for name in ("one", "two"))
    torch.testing.assert_close(two["state_dict"], one["state_dict"])  # both processes have the same batches


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        ((Turn(SGD, ("policy.*",)), Turn(ADAM, ("*",))), "turns 1 and 2 both train policy.weight"),
        ((Turn(SGD, ("policy.*",)), Turn(ADAM, ("mian.*",))), "turn 2 trains no parameter: mian"),
    ],
)
def test_turns_that_do_not_divide_the_parameters(tmp_path, turns, says):
    with pytest.raises(UserError, match=says):
        train(tmp_path, (replace(ALTERNATING, turns=turns),))


def test_turns_are_resumed_with_the_same_parameters_only(tmp_path):
    train(tmp_path, (ALTERNATING,), max_epochs=1)
    other = replace(ALTERNATING, turns=(Turn(SGD, ("policy.*",)), Turn(SGD, ("main.*",))))
    with pytest.raises(UserError, match=r"optimizer of stage alternating was \['sgd', 'adamw'\], now \['sgd', 'sgd'\]"):
        train(tmp_path / "other", (other,), tmp_path / "step=3.ckpt")


def test_several_steps_per_batch_count_as_one(tmp_path):
    once = Stage("once", 1, SGD, trains=("policy.*",))
    stages = (once, replace(ALTERNATING, name="often", epochs=2, turns=ALTERNATING.turns[:1], steps_per_batch=3), once)
    trainer, model = train(tmp_path, stages)
    assert trainer.global_step == 12
    assert model.calls[:3] == [(0, 0), (1, 0), (2, 0)]
    assert model.calls[3:9] == [(3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2)]
    assert model.calls[-3:] == [(9, 0), (10, 0), (11, 0)]
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == sorted(f"step={n}.ckpt" for n in range(1, 13))
    _, alone = train(tmp_path / "alone", (replace(stages[1], epochs=4),))
    assert_same(alone, reference(lambda step: "policy", repeats=3))
    _, resumed = train(tmp_path / "resumed", stages, tmp_path / "step=5.ckpt")
    assert_same(resumed, model, exact=True)


def test_factors_of_learning_rates(tmp_path):
    optim = replace(SGD, factors={"policy.bias": 3.0, "policy.*": 0.5})
    trainer, model = train(tmp_path, (Stage("all", 1, optim),), max_epochs=1)
    rates = {id(each): group["lr"] for group in trainer.optimizers[0].param_groups for each in group["params"]}
    found = {name: round(rates[id(each)], 6) for name, each in model.named_parameters()}
    assert found == {"policy.weight": 0.05, "policy.bias": 0.3, "main.weight": 0.1, "main.bias": 0.1}
    turns = (Turn(replace(SGD, factors={"policy.*": 0.5}), ("policy.*",)), ALTERNATING.turns[1])
    _, model = train(tmp_path, (replace(ALTERNATING, turns=turns),))
    assert_same(model, reference(lambda step: ("policy", "main")[step // EPOCH % 2], factors={"policy": 0.5}))


def test_a_factor_without_parameter(tmp_path):
    with pytest.raises(UserError, match=r"optim.factors: haed.\* matches no parameter"):
        train(tmp_path, (Stage("all", 1, replace(SGD, factors={"haed.*": 10.0})),))
