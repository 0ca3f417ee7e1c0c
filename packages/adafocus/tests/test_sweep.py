"""Thresholds of a trained model, and the checkpoint that exits by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from vidcore import Task
from vidcore.errors import UsageError, UserError
from vidcore.module import load_module
from vidcore.testing import tiny_batch
from vidcore_adafocus import AdaFocusModule
from vidcore_adafocus.command import main
from vidcore_adafocus.sweep import ExitSweep

SMALL: dict[str, Any] = {
    "clip": {"segments": 4, "size": 64},
    "focus": "mobilenet_v2",
    "policy_width": 16,
    "head_width": 32,
}


class Noise(LightningDataModule):
    def val_dataloader(self) -> Any:
        return DataLoader([tiny_batch(16, 4, 64)], batch_size=None)

    def test_dataloader(self) -> Any:
        batch = tiny_batch(16, 4, 64)
        batch["inputs"]["rgb"] = batch["inputs"]["rgb"].flip(-1)
        return DataLoader([batch], batch_size=None)


@pytest.fixture(scope="module")
def module() -> AdaFocusModule:
    torch.manual_seed(0)
    found = AdaFocusModule(Task.numbered(3), **SMALL)
    with torch.no_grad():
        for part in found.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                part.momentum = 1.0
        found.train()(tiny_batch(16, 4, 64))
    return found.eval()


def sweep(module: AdaFocusModule, folder: Path, **options: Any) -> ExitSweep:
    callback = ExitSweep(**options)
    trainer = Trainer(
        accelerator="cpu", logger=False, callbacks=[callback], enable_progress_bar=False, default_root_dir=folder
    )
    trainer.test(module, datamodule=Noise(), verbose=False)
    return callback


def test_table_of_budgets(module: AdaFocusModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = module.macs_per_clip() / 4e9
    found = sweep(module, tmp_path, by="entropy", output=str(tmp_path / "out" / "rows.json"))
    assert [row["budget"] for row in found.rows] == pytest.approx([frame, 2 * frame, 3 * frame, 4 * frame])
    costs = [row["val_gmacs"] for row in found.rows]
    assert costs == pytest.approx([frame, 2 * frame, 3 * frame, 4 * frame], rel=0.07)  # one video of 16
    assert all(row["val_gmacs"] <= row["budget"] * (1 + 1e-9) for row in found.rows)
    assert len({row["test_gmacs"] for row in found.rows}) == 4
    assert json.loads((tmp_path / "out" / "rows.json").read_text()) == found.rows
    assert "test_gmacs" in capsys.readouterr().out


def test_saved_thresholds_are_what_the_model_then_exits_by(module: AdaFocusModule, tmp_path: Path) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    trainer.strategy.connect(module)
    source, path = tmp_path / "last.ckpt", tmp_path / "exits.ckpt"
    trainer.save_checkpoint(source)
    budget = 2.5 * module.macs_per_clip() / 4e9
    found = sweep(module, tmp_path, budgets=[budget], source=str(source), save=str(path))
    model = load_module(path)
    (batch,) = Noise().test_dataloader()
    with torch.no_grad():
        used = model(batch).usage["focus"]
    assert 1 < float(used.float().mean()) < 4
    assert float(used.float().mean()) * module.macs_per_clip() / 4e9 == pytest.approx(found.rows[0]["test_gmacs"])


def test_budgets_of_looks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = AdaFocusModule(Task.numbered(3), "v1", skips=True, **SMALL).eval()
    torch.nn.init.normal_(module.net.policy.look.weight, std=50)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    trainer.strategy.connect(module)
    source, path = tmp_path / "last.ckpt", tmp_path / "skips.ckpt"
    trainer.save_checkpoint(source)
    parts = module.costs()
    rest = 4 * (sum(parts.values()) - parts["focus"])
    found = sweep(module, tmp_path, by="skip")
    assert float(module.net.look_threshold) == 0.5  # the test beside the table is the model's own
    assert [row["budget"] for row in found.rows] == pytest.approx(
        [(rest + n * parts["focus"]) / 1e9 for n in (1, 2, 3, 4)]
    )
    assert [row["val_gmacs"] for row in found.rows] == pytest.approx([row["budget"] for row in found.rows], rel=0.02)
    budget = (rest + 2 * parts["focus"]) / 1e9
    found = sweep(module, tmp_path, by="skip", budgets=[budget], source=str(source), save=str(path))
    (batch,) = Noise().test_dataloader()
    with torch.no_grad():
        looks = load_module(path)(batch).usage["focus"].float().mean()
    assert (rest + float(looks) * parts["focus"]) / 1e9 == pytest.approx(found.rows[0]["test_gmacs"])
    with pytest.raises(UserError, match=r"only one trained with --model\.skips true leaves some out"):
        sweep(AdaFocusModule(Task.numbered(3), "v1", **SMALL), tmp_path, by="skip")


def test_budget_below_the_first_frame(module: AdaFocusModule, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"budget of 1e-06 GMACs a video is below"):
        sweep(module, tmp_path, budgets=[1e-6])


def test_what_cannot_exit(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="AdaFocus without temporal shift"):
        sweep(AdaFocusModule(Task.numbered(3), "v2_tsm", **SMALL), tmp_path)
    with pytest.raises(UserError, match="exit_by must be one of"):
        ExitSweep(by="loudest")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: --ckpt_path"),
        (["--ckpt_path", "a.ckpt", "--budgets", "1,x"], "--budgets must be a number, got x"),
        (["--ckpt_path", "a.ckpt", "--save", "b.ckpt"], "--save needs one budget, not 0"),
        (["--ckpt_path", "a.ckpt", "--save", "a.ckpt", "--budgets", "1"], "is the checkpoint itself"),
        (["--ckpt_path", "a.ckpt"], "no checkpoint at a.ckpt"),
    ],
)
def test_usage_errors(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        main("exits", arguments)
