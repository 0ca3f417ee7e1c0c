"""A training that is resumed with other options follows these from its first step on, or is refused with one line."""

from __future__ import annotations

import copy
import math
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from running import curve, fit, installed, run  # noqa: F401
from torch.utils.data import DataLoader

from vidcore import ClipSpec, Optim, Output, Stage, Task, VideoModule
from vidcore.cli import main
from vidcore.cli.train import one_length
from vidcore.errors import UserError
from vidcore.testing import tiny_batch

EPOCH = 3
"""Batches of an epoch."""
BATCHES = [tiny_batch(rows=2, frames=2, size=16, classes=3) for _ in range(EPOCH)]
BEGUN = {"lr": 0.1, "warmup": 0.2, "name": "sgd"}


class Linear(VideoModule):
    """One stage, or one for each of ``lengths``, of which the first trains the head alone."""

    def __init__(self, task, lengths=(), rates=(0.1, 0.01), decay_all=False, head=("head.*",), **kwargs):
        super().__init__(task, ClipSpec(frames=2, size=16), **kwargs)
        self.trunk, self.head = torch.nn.Linear(3, 4), torch.nn.Linear(4, 3)
        patterns = (head, ("*",), ("*",))
        self._stages = [
            Stage(f"s{index}", length, Optim("sgd", lr, warmup=0.0, decay_all=decay_all), trains)
            for index, (length, lr, trains) in enumerate(zip(lengths, (*rates, 1.0), patterns, strict=False))
        ]

    def stages(self):
        return self._stages

    def forward(self, batch):
        return Output(logits=self.head(self.trunk(batch["inputs"]["rgb"].mean((2, 3, 4)))))


class Watch(Callback):
    """The rates, and weight decays, of all groups at each step."""

    def __init__(self):
        self.rates, self.decays, self.epochs = {}, [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        (optimizer,) = trainer.optimizers
        self.rates[trainer.global_step] = [group["lr"] for group in optimizer.param_groups]
        self.decays.append([group["weight_decay"] for group in optimizer.param_groups])
        self.epochs.append(trainer.current_epoch)


def train(folder, ckpt_path=None, model=None, batches=BATCHES, stop=None, **options):
    """Train on the CPU; ``stop`` names a step after which it stops as if its time was up."""
    watch = Watch()

    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step == stop

    each = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    ends = ModelCheckpoint(folder, "{epoch}-end", save_top_k=-1, save_on_train_epoch_end=True)
    trainer = Trainer(
        **{"max_epochs": 4, **options},
        accelerator="cpu",
        logger=False,
        callbacks=[watch, Stop(), each, ends],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.manual_seed(0)
    model = Linear(Task.numbered(3), **(model or {"optim": BEGUN}))
    trainer.fit(model, DataLoader(copy.deepcopy(batches), batch_size=None), ckpt_path=ckpt_path, weights_only=True)
    watch.model = model
    return watch


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Checkpoints of a training of four epochs: one after each step, and one at the end of each epoch."""
    folder = tmp_path_factory.mktemp("begun")
    train(folder)
    return folder


def cosine(step, total, lr=0.1, warmup=0.2):
    """The schedule of the documentation, written once more."""
    rises = int(warmup * total)
    if step < rises:
        return lr * (step + 1) / (rises + 1)
    return lr * 0.5 * (1 + math.cos(math.pi * (step - rises) / (total - rises)))


@pytest.mark.parametrize("checkpoint", ["step=4", "epoch=1-end"])
@pytest.mark.parametrize(
    ("optim", "length", "rate"),
    [
        ({}, {}, lambda step: cosine(step, 12)),
        ({}, {"max_epochs": 7}, lambda step: cosine(step, 21)),
        ({}, {"max_epochs": 3}, lambda step: cosine(step, 9)),
        ({"lr": 3.0}, {}, lambda step: cosine(step, 12, lr=3.0)),
        ({"lr": 3.0}, {"max_epochs": 7}, lambda step: cosine(step, 21, lr=3.0)),
        ({"schedule": "constant"}, {}, lambda step: 0.1),
        ({"warmup": 0.9}, {}, lambda step: cosine(step, 12, warmup=0.9)),
        ({}, {"max_epochs": -1, "max_steps": 11}, lambda step: cosine(step, 11)),
        ({}, {"max_steps": 20, "max_epochs": 30}, lambda step: cosine(step, 20)),
        ({}, {"max_epochs": -1, "max_time": timedelta(hours=1)}, lambda step: 0.1),
    ],
)
def test_rates_are_those_that_were_asked_for_from_the_first_step_on(begun, tmp_path, checkpoint, optim, length, rate):
    stop = 15 if "max_time" in length else None
    watch = train(tmp_path, begun / f"{checkpoint}.ckpt", {"optim": BEGUN | optim}, stop=stop, **length)
    first = 4 if checkpoint == "step=4" else 6
    assert min(watch.rates) == first
    assert watch.rates == {step: [pytest.approx(rate(step))] * 2 for step in watch.rates}
    assert len(watch.rates) >= 3


def test_a_finished_training_that_goes_on_begins_at_the_rate_of_the_longer_one(begun, tmp_path):
    watch = train(tmp_path, begun / "epoch=3-end.ckpt", max_epochs=6)
    assert watch.rates[12] == [pytest.approx(cosine(12, 18))] * 2
    assert watch.rates[12][0] > 0.01


def test_all_options_of_the_optimiser_are_those_that_were_asked_for(begun, tmp_path):
    assert train(tmp_path / "a", begun / "step=4.ckpt").decays[0] == [0.05, 0.0]
    changed = {"optim": BEGUN | {"weight_decay": 0.5}}
    assert train(tmp_path / "b", begun / "step=4.ckpt", changed).decays == [[0.5, 0.0]] * 8


def test_a_position_in_epochs_is_kept_when_these_have_more_batches(begun, tmp_path):
    watch = train(tmp_path, begun / "epoch=1-end.ckpt", batches=2 * BATCHES)
    assert next(iter(watch.rates.values())) == [pytest.approx(cosine(12, 24))] * 2
    assert list(watch.rates.values())[-1] == [pytest.approx(cosine(23, 24))] * 2
    with pytest.raises(UserError, match="the middle of an epoch of 3 batches, which now has 6"):
        train(tmp_path, begun / "step=4.ckpt", batches=2 * BATCHES)


@pytest.mark.parametrize(
    ("model", "length", "says"),
    [
        (
            {"optim": BEGUN | {"name": "adamw"}},
            {},
            "optimizer was 'sgd', now 'adamw': keep it, or begin a new training",
        ),
        ({"optim": BEGUN | {"decay_all": True}}, {}, "decay_all was False, now True"),
        ({"optim": BEGUN, "lengths": (1, 3)}, {}, "has no such stage where this training has stage s0"),
        ({}, {"max_epochs": 1}, "has begun 2 epochs: max_epochs, of the whole training, must be at least that, got 1"),
        ({}, {"max_steps": 3}, "has made 4 steps: max_steps, of the whole training, must be at least that, got 3"),
    ],
)
def test_what_cannot_be_resumed(begun, tmp_path, model, length, says):
    with pytest.raises(UserError, match=says) as refused:
        train(tmp_path, begun / "step=4.ckpt", {"optim": BEGUN} | model, **length)
    assert "\n" not in str(refused.value)


def test_weights_alone_cannot_be_resumed(begun, tmp_path):
    checkpoint = torch.load(begun / "step=4.ckpt", weights_only=True)
    del checkpoint["optimizer_states"]
    torch.save(checkpoint, tmp_path / "weights.ckpt")
    with pytest.raises(UserError, match="the checkpoint has weights alone"):
        train(tmp_path, tmp_path / "weights.ckpt")


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    train(folder, model={"lengths": (2, 2)})
    return folder


@pytest.mark.parametrize(
    ("checkpoint", "model", "epochs", "rates"),
    [  # by step
        ("step=4", {"lengths": (2, 2)}, 4, {4: cosine(4, 6, 0.1, 0), 6: 0.01, 11: cosine(5, 6, 0.01, 0)}),
        ("step=4", {"lengths": (3, 2)}, 5, {4: cosine(4, 9, 0.1, 0), 9: 0.01, 14: cosine(5, 6, 0.01, 0)}),
        ("step=4", {"lengths": (2, 2), "rates": (0.7, 0.6)}, 4, {4: cosine(4, 6, 0.7, 0), 6: 0.6}),
        ("epoch=1-end", {"lengths": (2, 2), "rates": (0.7, 0.6)}, 4, {6: 0.6, 7: cosine(1, 6, 0.6, 0)}),
        ("epoch=1-end", {"lengths": (3, 2)}, 5, {6: cosine(6, 9, 0.1, 0), 9: 0.01}),
        ("step=7", {"lengths": (2, 2)}, 6, {7: cosine(1, 12, 0.01, 0), 17: cosine(11, 12, 0.01, 0)}),
        ("step=7", {"lengths": (2, 9, 2)}, 20, {7: cosine(1, 27, 0.01, 0), 33: 1.0}),
        ("epoch=2-end", {"lengths": (2, 1, 2)}, 5, {9: 1.0, 10: cosine(1, 6, 1.0, 0)}),
    ],
)
def test_stages_follow_what_was_asked_for(staged, tmp_path, checkpoint, model, epochs, rates):
    watch = train(tmp_path, staged / f"{checkpoint}.ckpt", model, max_epochs=epochs)
    assert {step: watch.rates[step] for step in rates} == {
        step: [pytest.approx(rate)] * 2 for step, rate in rates.items()
    }
    assert len(watch.rates) == epochs * EPOCH - min(watch.rates)


@pytest.mark.parametrize(
    ("checkpoint", "model", "says"),
    [
        ("step=7", {"lengths": (1, 3)}, "has finished stage s0 after 2 epochs, it cannot have 1: keep its length"),
        ("step=7", {"lengths": ()}, "has stage s0 where this training has no such stage"),
        ("step=7", {"lengths": (2, 0, 2)}, "has begun 1 epochs of stage s1, it cannot have 0"),
        ("step=4", {"lengths": (1, 3)}, "has begun 2 epochs of stage s0, it cannot have 1"),
        ("step=4", {"lengths": (2, 2), "head": ("*",)}, r"trains of stage s0 was \['head.\*'\], now \['\*'\]"),
        ("step=4", {"lengths": (2, 2), "decay_all": True}, "decay_all of stage s0 was False, now True"),
    ],
)
def test_stages_that_do_not_fit_the_checkpoint(staged, tmp_path, checkpoint, model, says):
    with pytest.raises(UserError, match=says):
        train(tmp_path, staged / f"{checkpoint}.ckpt", model)


def test_stages_have_their_lengths_where_steps_end_the_training(tmp_path):
    watch = train(tmp_path, model={"lengths": (2, 1)}, max_epochs=-1, max_steps=14)
    assert watch.rates[3] == [pytest.approx(cosine(3, 6, 0.1, 0))] * 2
    assert watch.rates[6] == [pytest.approx(0.01)] * 2
    assert watch.rates[13] == [pytest.approx(cosine(7, 8, 0.01, 0))] * 2


def test_a_moving_average_that_ends_goes_on_with_the_training_s_own_weights(tmp_path):
    train(tmp_path / "a", model={"optim": BEGUN | {"ema": 0.9}})
    averaged = tmp_path / "a" / "epoch=1-end.ckpt"
    checkpoint = torch.load(averaged, weights_only=True)
    own, mean = checkpoint["current_model_state"], checkpoint["state_dict"]
    assert not torch.equal(own["head.weight"], mean["head.weight"])
    without = train(tmp_path / "b", averaged, {"optim": BEGUN | {"lr": 0.0}}, max_epochs=3)
    torch.testing.assert_close(without.model.state_dict()["head.weight"], own["head.weight"], rtol=0, atol=0)
    # And one that begins.
    train(tmp_path / "c", tmp_path / "b" / "epoch=2-end.ckpt", {"optim": BEGUN | {"ema": 0.9}})
    assert "averaging_state" in torch.load(tmp_path / "c" / "epoch=3-end.ckpt", weights_only=True)


def test_without_a_last_step_the_rate_is_constant_after_a_warm_up_of_the_first_epoch(tmp_path):
    watch = train(tmp_path, model={"optim": BEGUN | {"warmup": 0.7}}, stop=10, max_epochs=-1)
    assert [rates[0] for rates in watch.rates.values()] == pytest.approx([0.1 / 3, 0.2 / 3, *[0.1] * 8])


def test_an_epoch_that_the_clock_ended_is_over(tmp_path):
    watch = train(tmp_path, stop=4, max_epochs=-1)
    assert watch.epochs == [0, 0, 0, 1]
    checkpoint = tmp_path / "epoch=1-end.ckpt"
    watch = train(tmp_path, checkpoint, max_epochs=4)
    assert watch.epochs == [2, 2, 2, 3, 3, 3]
    assert watch.model.first_batch == 0
    assert watch.rates[4] == [pytest.approx(cosine(4, 12))] * 2


def test_the_command_uses_what_was_asked_for_or_leaves_the_run_as_it_was(installed, capsys):  # noqa: F811
    arguments = fit("--trainer.max_steps", "4")
    at = arguments.index("--trainer.max_epochs")
    assert main(arguments[:at] + arguments[at + 2 :]) == 0
    last = run(0) / "checkpoints" / "last.ckpt"
    assert [step for step, _ in curve(run(0), "train/loss")] == [0, 1, 2, 3], "the default of 30 epochs is no limit"
    before = (run(0) / "config.yaml").read_text()
    for options, says in (
        (["--model.optim.name", "sgd"], "optimizer was 'adamw', now 'sgd'"),
        (["--trainer.max_steps", "2"], "has made 4 steps"),
        (["--trainer.max_epochs", "1"], "has begun 2 epochs"),
    ):
        capsys.readouterr()
        assert main(["fit", "--ckpt_path", str(last), *options]) == 1
        said = capsys.readouterr().err
        assert says in said
        assert "to go on" not in said
        assert (run(0) / "config.yaml").read_text() == before
    options = ["--trainer.max_epochs", "3", "--model.optim.lr", "0.25", "--model.optim.schedule", "constant"]
    assert main(["fit", "--ckpt_path", str(last), *options]) == 0
    resumed = torch.load(last, weights_only=True)
    assert [group["lr"] for group in resumed["optimizer_states"][0]["param_groups"]] == [0.25, 0.25]
    trainer = yaml.safe_load((run(0) / "config.yaml").read_text())["trainer"]
    assert (trainer["max_epochs"], trainer["max_steps"]) == (3, -1)
    # A finished run that is resumed unchanged trains nothing and changes nothing.
    assert main(["fit", "--ckpt_path", str(last)]) == 0
    assert torch.load(last, weights_only=True)["global_step"] == resumed["global_step"]


@pytest.mark.parametrize(
    ("argv", "environment", "adds"),
    [
        ([], {}, []),
        (["--trainer.max_steps", "9"], {}, ["--trainer.max_epochs=-1"]),
        (["--trainer.max_steps=9"], {}, ["--trainer.max_epochs=-1"]),
        (["--trainer.max_epochs", "9"], {}, ["--trainer.max_steps=-1"]),
        (["--trainer.max_epochs", "9", "--trainer.max_steps", "5"], {}, []),
        (["--trainer.max_epochs", "-1"], {}, []),
        (["--trainer.max_steps", "-1"], {}, []),
        (["--config", "{trainer: {max_steps: 9}}"], {}, ["--trainer.max_epochs=-1"]),
        (["--config", "{trainer: {max_steps: 9, max_epochs: 2}}"], {}, []),
        (["--trainer.max_epochs", "9"], {"VID_FIT__TRAINER__MAX_STEPS": "5"}, []),
        ([], {"VID_FIT__TRAINER__MAX_STEPS": "5"}, ["--trainer.max_epochs=-1"]),
    ],
)
def test_a_length_in_one_unit_replaces_the_one_in_the_other(monkeypatch, argv, environment, adds):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert one_length(argv) == adds


def test_time_alone_can_end_a_training(installed, monkeypatch):  # noqa: F811
    monkeypatch.setattr("lightning.pytorch.callbacks.Timer.time_elapsed", lambda self, *_: 0.0 if late() else 9.9)
    steps = iter(range(100))

    def late():
        return next(steps) < 7

    assert main(fit("--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:00:05")) == 0
    last = torch.load(Path(run(0), "checkpoints", "last.ckpt"), weights_only=True)
    assert 0 < last["global_step"] < 10
