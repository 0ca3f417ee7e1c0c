"""Each published data set in its official layout, with one small model from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fake import FAKES

from vidcore import plugins
from vidcore.cli import main
from vidcore_datasets.published import PublishedData

TRAINER = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.logger", "false"]
FIT = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.num_sanity_val_steps", "0"]


@pytest.mark.parametrize("name", FAKES)
def test_fit_test_and_predict(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Skip the report pages: they do not depend on the data set and take most of the time.
    monkeypatch.setattr("vidcore.report.page.write", lambda *args, **kwargs: None)
    monkeypatch.chdir(tmp_path)
    fake = FAKES[name]
    fake.make(Path("data"))
    options = [text for key, value in fake.options.items() for text in (f"--data.{key}", str(value))]
    data = ["--data", name, "--data.root", "data", "--data.num_workers", "0", "--data.batch_size", "4", *options]
    assert main(["fit", "--model", fake.model, *data, *FIT, *TRAINER]) == 0
    (checkpoint,) = map(str, tmp_path.rglob("last.ckpt"))
    assert main(["test", "--ckpt_path", checkpoint, *TRAINER]) == 0
    capsys.readouterr()
    assert main(["predict", "data", "--ckpt_path", checkpoint, "--accelerator", "cpu"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows and not any("error" in row for row in rows)


@pytest.mark.parametrize("name", FAKES)
def test_samples(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = FAKES[name]
    fake.make(tmp_path / "data")
    data = plugins.load("vidcore.data", name)(str(tmp_path / "data"), **fake.options)
    splits = {split: data.samples(split) for split in ("train", "val", "test")}
    assert {split: len(samples) for split, samples in splits.items()} == fake.sizes
    if isinstance(data, PublishedData):
        what = "(val|test) samples" if data.published.sizes else "classes"
        assert re.search(rf"\d {what} instead of", caplog.text), "a fake has not the published figures"
    for samples in splits.values():
        assert all(Path(sample.path).exists() for sample in samples)
        assert len({sample.id for sample in samples}) == len(samples)
        assert not any(str(tmp_path) in sample.id for sample in samples), "ids do not depend on where the files are"
