"""Every published data set, in its owners' layout, with one small model from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake import FAKES

from vidcore import plugins
from vidcore.cli import main

TRAINER = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.logger", "false"]
FIT = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.num_sanity_val_steps", "0"]


@pytest.mark.parametrize("name", FAKES)
def test_fit_test_and_predict(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fake = FAKES[name]
    fake.make(Path("data"))
    data = ["--data", name, "--data.root", "data", "--data.num_workers", "0", "--data.batch_size", "4", *fake.options]
    assert main(["fit", "--model", fake.model, *data, *FIT, *TRAINER]) == 0
    (checkpoint,) = map(str, tmp_path.rglob("last.ckpt"))
    assert main(["test", "--ckpt_path", checkpoint, *TRAINER]) == 0
    capsys.readouterr()
    assert main(["predict", "data", "--ckpt_path", checkpoint, "--accelerator", "cpu"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows and not any("error" in row for row in rows)


@pytest.mark.parametrize("name", FAKES)
def test_sizes(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = FAKES[name]
    fake.make(tmp_path / "data")
    options = {
        key.removeprefix("--data."): value for key, value in zip(fake.options[::2], fake.options[1::2], strict=True)
    }
    options = {key: int(value) if value.isdecimal() else value for key, value in options.items()}
    data = plugins.load("vidcore.data", name)(str(tmp_path / "data"), **options)
    assert {split: len(data.samples(split)) for split in ("train", "val", "test")} == fake.sizes
    assert "instead of" in caplog.text, "a fake has not the published number of clips"
    for split in fake.sizes:
        assert all(Path(sample.path).exists() for sample in data.samples(split))
        assert len({sample.id for sample in data.samples(split)}) == fake.sizes[split]
