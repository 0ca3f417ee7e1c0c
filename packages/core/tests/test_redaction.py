"""Passwords and tokens of URLs stay out of whatever is shown or written."""

from __future__ import annotations

import csv
import json
import logging
import pickle
import sys
from pathlib import Path

import pytest
import torch
import yaml
from colours import COLOURS, Colours, write
from small_models import MeanColour

from vidcore import Sample, Task, UserError, VideoDataModule
from vidcore.cli import main
from vidcore.redaction import labels, redacted, without_secrets_of
from vidcore.video import open_video

TESTS = Path(__file__).parent
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:hunter2@host:80/a.mp4", "https://***@host:80/a.mp4"),
        ("rtsp://hunter2@cam/1: no picture", "rtsp://***@cam/1: no picture"),
        ("rtsp://me:hun/ter2@cam/1", "rtsp://***@cam/1"),
        ("rtsp://me:p@hunter2@cam/1", "rtsp://***@cam/1"),
        ("a https://h/a?token=hunter2&v=1 and s3://k:hunter2@b/c", "a https://h/a?token=***&v=1 and s3://***@b/c"),
        ("https://h/a?v=1&X-Amz-Signature=hunter2#bytes=1-2", "https://h/a?v=1&X-Amz-Signature=***#bytes=1-2"),
        ("https://h/a?x%2Damz-credential=hunter2", "https://h/a?x%2Damz-credential=***"),
        ("https://h/a#access_token=hunter2&x=1", "https://h/a#access_token=***&x=1"),
        ("'https://h/a?sig=hunter2': gone", "'https://h/a?sig=***': gone"),
        ('{"url":"https://h/a?key=hunter2","mail":"me@x"}', '{"url":"https://h/a?key=***","mail":"me@x"}'),
        *((f"https://h/a?{name}=hunter2", f"https://h/a?{name}=***") for name in ("api_key", "AWSAccessKeyId", "Auth")),
        *((text, text) for text in ("a@b.c", "https://host:80/user@x?v=3&signal=1", "clips/a=b.mp4", "gs://b/a@1.mp4")),
    ],
)
def test_what_is_left_out(text, expected):
    assert redacted(text) == expected
    assert redacted(expected) == expected


def test_labels_tell_videos_apart():
    urls = ["https://h/a?key=1", "https://h/a?key=2", "https://h/b?key=2", "/x/a.mp4"]
    found = labels(urls)
    assert len(set(found.values())) == 4
    assert found["https://h/b?key=2"] == "https://h/b?key=***"
    assert found["https://h/a?key=1"].startswith("https://h/a?key=***#")
    assert labels(reversed(urls)) == found


def test_the_secrets_of_a_url_in_whatever_form():
    url = "s3://me:hunt%2Fer2@bucket/a?sig=abc%3D1"
    for text in ("/me:hunt%2Fer2@bucket/a", "no hunt/er2", "sig is abc=1", url):
        assert not any(word in without_secrets_of(url, text) for word in ("hunt", "abc"))


def test_errors_have_no_secrets():
    error = UserError(f"https://me:{SECRET}@h/a: gone")
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "https://***@h/a: gone"
    with pytest.raises(UserError, match=r"lacks its password or token, .*: pass the complete URL"):
        open_video("https://***@host/a.mp4")


URL = f"memory://me:{SECRET}@host/clips"


class Remote(VideoDataModule):
    """Clips at URLs whose last one cannot be read."""

    task = Task("single_label", tuple(COLOURS))

    def __init__(self, root: str, **kwargs):
        super().__init__(**{"num_workers": 0, "batch_size": 4, "max_unreadable": 1.0, **kwargs})
        self.root = root

    def samples(self, split):
        names = [f"{name}_{index}" for index in range(2) for name in COLOURS]
        found = [Sample(f"{self.root}/{name}.mp4?token={SECRET}", i % 3) for i, name in enumerate(names)]
        return [*found, Sample(f"{self.root}/gone.mp4?token={SECRET}", 0)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Clips in fsspec's memory, under the names that :class:`Remote` asks for."""
    import fsspec

    folder, memory = tmp_path_factory.mktemp("clips"), fsspec.filesystem("memory")
    for index in range(2):
        for number, (name, colour) in enumerate(COLOURS.items()):
            path = write(folder / f"{name}_{index}.mp4", colour, 3 * index + number)
            for host in (f"me:{SECRET}@host", "host"):
                memory.pipe(f"/{host}/clips/{name}_{index}.mp4?token={SECRET}", path.read_bytes())
    return folder


LOGGERS = json.dumps(
    [
        {"class_path": "lightning.pytorch.loggers.WandbLogger"},
        {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "unused"}},
    ]
)


def everything(folder):
    """The names and the content of all files below a folder."""
    for path in folder.rglob("*"):
        yield str(path).encode()
        if path.is_file():
            yield path.read_bytes()


def test_a_run_and_what_it_writes(served, tmp_path, capsys, monkeypatch, caplog, recwarn):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.syspath_prepend(str(TESTS))
    caplog.set_level(logging.INFO)
    argv = [
        *("fit", "--model", "small_models.MeanColour", "--data", "test_redaction.Remote", "--data.root", URL),
        *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.num_sanity_val_steps", "0"),
        *("--trainer.logger", LOGGERS),
    ]
    monkeypatch.setattr(sys, "argv", ["vid", *argv])
    assert main(argv) == 0
    last = next((tmp_path / "runs").rglob("last.ckpt"))
    assert yaml.safe_load((last.parents[1] / "config.yaml").read_text())["data"]["init_args"]["root"].endswith(
        "@host/clips"
    )
    assert torch.load(last, weights_only=True)["datamodule_hyper_parameters"]["root"] == "memory://***@host/clips"
    assert next((tmp_path / "runs").rglob("unreadable_0.csv")).read_text().count("gone.mp4?token=***") == 3
    assert next((tmp_path / "runs").rglob("hparams.yaml")).is_file() and next((tmp_path / "runs").rglob("*.wandb"))

    capsys.readouterr()
    assert main(["test", "--ckpt_path", str(last)]) == 1
    assert any("lacks its password or token" in str(each.message) for each in recwarn)
    again = ["test", "--ckpt_path", str(last), "--data.root", URL]
    assert main([*again, "--debug"]) == 1  # a clip is gone
    said = capsys.readouterr()
    assert "gone.mp4" in said.err + "".join(str(each.message) for each in recwarn)
    texts = [said.out, said.err, caplog.text, *(str(each.message) for each in recwarn)]
    assert [text for text in texts if SECRET in text] == []
    leaks = [content for content in everything(tmp_path) if SECRET.encode() in content]
    assert not leaks, leaks[0][:300]


def test_commands_about_data(served, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))
    data = ["--data", "test_redaction.Remote", "--data.root", URL, "--num_workers", "1"]

    def run(function, jobs, workers, limit):
        for job in jobs:
            yield job, function(job)

    for module in ("checking.check", "statistics.stats", "preparing.run"):
        monkeypatch.setattr(f"vidcore_datasets.{module}.run_isolated", run)
    assert main(["data", "check", *data, "--output", str(tmp_path / "check.csv")]) == 1
    assert main(["data", "check", *data, "--output", "b.csv", "--against", str(tmp_path / "check.csv")]) == 1
    assert main(["data", "stats", *data, "--output", str(tmp_path / "stats")]) == 1
    for form in ("video", "frames", "shards"):
        if form == "shards":
            pytest.importorskip("litdata")
        assert main(["data", "prepare", *data, "--as", form, "--to", str(tmp_path / form)]) == 1
        lines = (tmp_path / form / "samples.jsonl").read_text().splitlines()
        assert len(lines) == 1 + 3 * 6 and all("token=***" in json.loads(line)["id"] for line in lines[1:])
        with (tmp_path / form / "unreadable.csv").open() as file:
            assert [row["path"] for row in csv.DictReader(file)] == ["memory://***@host/clips/gone.mp4?token=***"]
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    leaks = [content for content in everything(tmp_path) if SECRET.encode() in content]
    assert not leaks, leaks[0][:300]


@pytest.mark.parametrize(
    "argv",
    [
        ["predict", f"https://me:{SECRET}@h/a.mp4", "--model", "small_models.MeanColour"],
        ["stream", f"https://me:{SECRET}@localhost:1/a?token={SECRET}", "--model", "small_models.MeanColour"],
        ["test", "--ckpt_path", f"https://h/a.ckpt?key={SECRET}"],
        ["fit", "--config", f"{{model: https://h/a?key={SECRET}}}"],
        ["fit", "--trainer.max_epochs", f"https://h/a?key={SECRET}", "--model", "mean", "--data", "colours"],
        ["data", "check", f"https://h/a?key={SECRET}"],
        ["data", "prepare", "--data", "colours.Colours", "--as", "video", "--to", f"s3://a:{SECRET}@b"],
    ],
)
def test_mistakes_on_the_command_line(argv, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))
    for debug in ([], ["--debug"]):
        assert main([*argv, *debug]) in (1, 2)
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err
        assert "error: " in said.err


def test_rows_of_predict(served, tmp_path):
    from vidcore.predict.predictor import Renderer
    from vidcore.predict.rows import Output

    data = Colours(tmp_path)
    module = MeanColour(data.task)
    video = f"https://me:{SECRET}@host/a.mp4?token={SECRET}"
    assert SECRET not in str(Renderer(tmp_path, module).path(video))
    assert module.predict_step({"ids": [], "errors": {video: "gone"}}, 0) == [
        {"path": "https://***@host/a.mp4?token=***", "error": "gone"}
    ]
    output = Output(str(tmp_path / "rows.jsonl"))
    output.file().write({"path": redacted(video), "gmacs": 1.0})
    assert [row["path"] for row in output.join([video])] == [redacted(video)]
    assert SECRET not in (tmp_path / "rows.jsonl").read_text()
