"""A training that was killed goes on to the weights that it would have had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from colours import Colours
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from resume_models import AUGMENT, Fragile

from vidcore import ClipSpec
from vidcore.cli import main
from vidcore.reading.sampler import SeededSampler

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    Colours(folder).prepare_data()
    return folder


def same(first, second, where=""):
    """Where two checkpoints differ; empty if nowhere."""
    if isinstance(first, torch.Tensor):
        return [] if torch.equal(first, second) else [where]
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        return [place for key in first for place in same(first[key], second[key], f"{where}/{key}")]
    if isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        pairs = enumerate(zip(first, second, strict=True))
        return [place for index, (one, other) in pairs for place in same(one, other, f"{where}/{index}")]
    return [] if first == second else [where]


def state(path):
    checkpoint = torch.load(path, weights_only=True)
    keys = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "global_step")
    return {key: checkpoint[key] for key in keys}


def arguments(clips, runs):
    return [
        *("fit", "--model", "resume_models.Fragile", "--model.optim.ema", "0.9"),
        *("--data", "resume_models.Clips", "--data.root", str(clips)),
        *("--trainer.max_epochs", "4", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
        *("--trainer.logger.save_dir", str(runs), "--seed_everything", "5"),
    ]


def last(runs):
    return sorted(runs.rglob("last.ckpt"), key=lambda path: path.stat().st_mtime)[-1]


def test_killed_in_mid_epoch_it_goes_on_to_the_same_weights(clips, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))
    assert main(arguments(clips, tmp_path / "whole")) == 0

    killed = subprocess.run(
        [sys.executable, "-m", "vidcore.cli", *arguments(clips, tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": str(TESTS), "KILL_AT": "2.1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert killed.returncode == -9, killed.stderr
    left = last(tmp_path / "killed")
    # The first stage is over but the second has not begun.
    assert {key: torch.load(left, weights_only=True)[key] for key in ("epoch", "stage")} == {"epoch": 1, "stage": 0}

    # The seed comes from the checkpoint.
    goes_on = arguments(clips, tmp_path / "killed")[:-2]
    assert main([*goes_on, "--ckpt_path", str(left)]) == 0
    assert same(state(last(tmp_path / "whole")), state(last(tmp_path / "killed"))) == []


def fit(clips, folder, epochs=4, ckpt_path=None):
    seed_everything(5)
    data = Colours(clips, augment=AUGMENT)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[
            ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True),
            # Between two epochs.
            ModelCheckpoint(folder, "val-{epoch}", monitor="val/top1", save_top_k=-1),
            # In the middle of one.
            ModelCheckpoint(folder, "mid-{step}", every_n_train_steps=1, save_top_k=-1),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.manual_seed(1)
    model = Fragile(data.task, optim={"ema": 0.9})
    torch.rand(17 if ckpt_path else 3)  # what else was drawn does not matter
    trainer.fit(model, data, ckpt_path=ckpt_path)
    return state(folder / f"epoch={epochs - 1}.ckpt")


def test_every_checkpoint_of_a_training_goes_on_to_the_same_weights(clips, tmp_path):
    whole = fit(clips, tmp_path / "whole")
    for name in ("epoch=0", "val-epoch=1", "epoch=2", "mid-step=4", "mid-step=11"):
        assert same(whole, fit(clips, tmp_path / name, ckpt_path=tmp_path / "whole" / f"{name}.ckpt")) == [], name


def test_draws_depend_on_seed_epoch_and_index_alone(clips):
    def epoch_of(number, seed=3, workers=0, processes=1, history=0):
        torch.manual_seed(history)
        data = Colours(clips, augment={"randaugment": 9, "erasing": 0.5})
        data.clip_spec = ClipSpec(frames=3, size=16)
        dataset = data.dataset("train")
        seen = {}
        for rank in range(processes):
            sampler = SeededSampler(dataset, train=True, seed=seed, num_replicas=processes, rank=rank)
            sampler.set_epoch(number)
            loader = torch.utils.data.DataLoader(dataset, sampler=sampler, num_workers=workers, collate_fn=list)
            for (item,) in loader:
                seen[item["id"]] = item["inputs"]["rgb"]
        return seen

    def differ(first, second):
        return [name for name in first if not torch.equal(first[name], second[name])]

    first = epoch_of(1)
    assert len(first) == 12
    assert differ(first, epoch_of(1, workers=2, processes=2, history=9)) == []
    assert len(differ(first, epoch_of(2))) == 12
    assert len(differ(first, epoch_of(1, seed=4))) == 12


def test_the_order_changes_with_the_epoch(clips):
    sampler = SeededSampler(range(12), train=True, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append([index for index, _ in sampler])
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == list(range(12))


def test_evaluation_reads_every_sample_once_in_equally_many_steps():
    samplers = [SeededSampler(range(7), train=False, seed=3, num_replicas=3, rank=rank) for rank in range(3)]
    draws = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(part) for part in draws] == [3, 3, 3]
    assert sorted(draw[0] for part in draws for draw in part if draw is not None) == list(range(7))
