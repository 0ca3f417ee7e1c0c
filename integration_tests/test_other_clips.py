"""Test a checkpoint on clips that it was not trained on."""

from __future__ import annotations

import csv
import json
import shutil
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest
import torch

from vidcore.cli import main
from vidcore.video import write_video

CLASSES = {"dark": 20, "grey": 110, "light": 200}


def make_clips(root: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            video = torch.full((2, 3, 32, 32), CLASSES.get(name, 0) + index, dtype=torch.uint8)
            write_video(root / name / f"{index}.mp4", video, fps=8)
    return root


def logger(root: Path, name: str) -> list[str]:
    return ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.logger.save_dir",
            str(root), "--trainer.logger.name", name, "--data.num_workers", "0"]  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Clips of three classes."""
    return make_clips(tmp_path_factory.mktemp("clips"), dict.fromkeys(CLASSES, 5))


@pytest.fixture(scope="module")
def said_in_training() -> StringIO:
    return StringIO()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, clips, said_in_training) -> Path:
    """Checkpoint of a model trained on ``clips``."""
    root = tmp_path_factory.mktemp("trained")
    arguments = ["fit", "--model", "movinet", "--data", "folder", "--data.root", str(clips), "--model.clip.frames", "2",
                 "--model.clip.size", "32", "--trainer.max_epochs", "2", *logger(root, "fit")]  # fmt: skip
    with redirect_stderr(said_in_training):
        assert main(arguments) == 0
    return root / "fit" / "version_0" / "checkpoints" / "best.ckpt"


@pytest.fixture
def evaluate(checkpoint, tmp_path, caplog):
    """Function from the arguments of a test or validation to its metrics and log."""
    number = iter(range(10))

    def run(command: str, *arguments: str) -> tuple[dict[str, float], str]:
        name = f"run_{next(number)}"
        caplog.clear()
        with caplog.at_level("INFO", "lightning.pytorch"):
            assert main([command, "--ckpt_path", str(checkpoint), *arguments, *logger(tmp_path / "runs", name)]) == 0
        with (tmp_path / "runs" / name / "version_0" / "metrics.csv").open() as file:
            found = {key: float(value) for key, value in next(csv.DictReader(file)).items()}
        return found, caplog.text

    return run


def test_a_folder_is_tested_whole_and_with_the_classes_of_the_checkpoint(checkpoint, evaluate, tmp_path, capsys):
    other = make_clips(tmp_path / "other", {"light": 4, "dark": 3})
    folder = ["--data", "folder", "--data.root", f"{other}/"]
    capsys.readouterr()
    assert main(["predict", str(other), "--ckpt_path", str(checkpoint)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    right = [row["top"][0]["class"] == Path(row["path"]).parent.name for row in rows]
    assert len(right) == 7
    for command, split in (("test", "test"), ("validate", "val")):
        metrics, said = evaluate(command, *folder)
        assert f"{split} 7 of 7 samples" in said
        assert metrics[f"{split}/top1"] == pytest.approx(sum(right) / 7)
    assert sorted(path.name for path in other.iterdir()) == ["dark", "light"], "no split is written"

    # Clips in test/CLASS only; then clips of one class listed in a CSV file.
    (tmp_path / "held_out").mkdir()
    shutil.copytree(other, tmp_path / "held_out" / "test")
    metrics, said = evaluate("test", "--data", "folder", "--data.root", str(tmp_path / "held_out"))
    assert "test 7 of 7 samples" in said
    assert metrics["test/top1"] == pytest.approx(sum(right) / 7)
    (tmp_path / "light.csv").write_text("path,label\n" + "".join(f"other/light/{i}.mp4,light\n" for i in range(4)))
    metrics, said = evaluate("test", "--data", "csv", "--data.path", str(tmp_path / "light.csv"))
    assert "test 4 of 4 samples" in said and "training clips" not in said
    light = [one for row, one in zip(rows, right, strict=True) if "light" in row["path"]]
    assert metrics["test/top1"] == pytest.approx(sum(light) / 4)


def test_the_data_of_the_training_keep_their_split(evaluate, clips):
    assert "test 3 of 15 samples" in evaluate("test", "--data", "folder", "--data.root", f"{clips}/../{clips.name}")[1]


def test_clips_that_the_training_may_have_seen_are_named(evaluate, clips, tmp_path):
    (tmp_path / "some.csv").write_text(f"path,label\n{clips}/grey/0.mp4,grey\n{clips}/grey/1.mp4,grey\n")
    said = evaluate("test", "--data", "csv", "--data.path", str(tmp_path / "some.csv"))[1]
    assert "test 2 of 2 samples" in said and "2 of the 2 clips are in" in said


def test_classes_that_the_checkpoint_does_not_know_are_one_line(checkpoint, tmp_path, capsys):
    other = make_clips(tmp_path / "other", {"light": 1, "zebra": 1})
    argv = ["test", "--ckpt_path", str(checkpoint), "--data", "folder", "--data.root", str(other)]
    assert main([*argv, *logger(tmp_path / "runs", "test")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(
        f"vid: error: {checkpoint} knows 3 single_label classes (dark, grey, light), and 1 of the 2 "
    )
    assert "zebra" in said
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("*.csv"))


def test_best_says_on_how_many_clips_it_was_chosen(checkpoint, said_in_training):
    assert " on 3 clips)" in said_in_training.getvalue()
    report = checkpoint.parents[1] / "report"
    assert ", on 3 clips" in (report / "index.html").read_text()
    assert json.loads((report / "summary.json").read_text())["clips"] == 3
