"""A model plugin on real files, from the command line."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from vidcore.cli import main

SMALL = ["--data.frame_size", "32", "--data.glyph_size", "16", "--data.num_frames", "8"]
COUNTS = ["--data.num_train", "20", "--data.num_val", "10", "--data.num_test", "7"]


def trainer(root: Path, name: str) -> list[str]:
    return ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.logger.class_path",
            "CSVLogger", "--trainer.logger.save_dir", str(root), "--trainer.logger.name", name]  # fmt: skip


def metrics(root: Path, name: str) -> dict[str, float]:
    with (root / name / "version_0" / "metrics.csv").open() as file:
        return {key: float(value) for key, value in next(csv.DictReader(file)).items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with a MoViNet trained for one epoch on moving digits."""
    root = tmp_path_factory.mktemp("trained")
    arguments = [
        "fit",
        "--model",
        "movinet",
        "--data",
        "moving_digits",
        "--data.root",
        str(root / "data"),
        *SMALL,
        *COUNTS,
    ]
    clip = [
        "--model.clip.frames",
        "2",
        "--model.clip.size",
        "32",
        "--data.num_workers",
        "0",
        "--trainer.max_epochs",
        "1",
    ]
    assert main([*arguments, *clip, *trainer(root, "fit")]) == 0
    return root


def test_the_recipe_of_the_pair_was_used(trained):
    config = (trained / "fit" / "version_0" / "config.yaml").read_text()
    assert "bn_momentum: 0.1" in config
    assert "class_path: vidcore.data.moving_digits" in config


def test_two_processes_report_what_one_does(trained):
    checkpoint = trained / "fit" / "version_0" / "checkpoints" / "best.ckpt"
    common = ["test", "--ckpt_path", str(checkpoint), "--data.batch_size", "2"]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    program = [sys.executable, "-m", "vidcore.cli"]
    # Seven videos on two processes: one is repeated for padding, and must count once.
    done = subprocess.run(
        [*program, *common, *two, *trainer(trained, "two")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert main([*common, *trainer(trained, "one")]) == 0
    one, both = metrics(trained, "one"), metrics(trained, "two")
    for name in ("test/top1", "test/top5", "test/mean_class", "test/gmacs"):
        assert both[name] == pytest.approx(one[name], abs=1e-6), name


def test_predict_and_render(trained, capsys):
    checkpoint = trained / "fit" / "version_0" / "checkpoints" / "best.ckpt"
    folder = next((trained / "data").glob("*/test"))
    capsys.readouterr()
    assert main(["predict", str(folder), "--ckpt_path", str(checkpoint), "--render", str(trained / "drawn")]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 7
    for row in rows:
        assert len(row["top"]) == 5
        assert row["gmacs"] > 0
        assert Path(row["rendered"]).stat().st_size > 0


def test_fine_tuning_from_a_checkpoint_on_other_classes(trained, tmp_path):
    import torch

    from vidcore.video import write_video

    for label, value in (("dark", 20), ("light", 200)):
        (tmp_path / "clips" / label).mkdir(parents=True)
        for index in range(5):
            video = torch.full((4, 3, 32, 40), value + index, dtype=torch.uint8)
            write_video(tmp_path / "clips" / label / f"{index}.mp4", video, fps=8)
    checkpoint = trained / "fit" / "version_0" / "checkpoints" / "best.ckpt"
    arguments = ["fit", "--model", "movinet", "--data", "folder", "--data.root", str(tmp_path / "clips"),
                 "--model.clip.frames", "2", "--model.clip.size", "32", "--data.num_workers", "0"]  # fmt: skip
    tuned = [*arguments, "--model.weights", str(checkpoint), "--trainer.max_epochs", "1", *trainer(tmp_path, "tuned")]
    assert main(tuned) == 0


def test_movinet_costs_what_its_paper_says(capsys):
    assert main(["flops", "--model", "movinet", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parameters"] == report["published"]["parameters"] == 3_111_799
    assert report["gmacs"] == pytest.approx(2.631, rel=0.01)
