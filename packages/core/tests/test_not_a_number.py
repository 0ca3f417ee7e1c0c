"""Models that answer NaN and trainings that diverge say so, everywhere."""

from __future__ import annotations

import json
import math

import pytest
import torch
from colours import COLOURS, Colours
from running import fit, installed, run  # noqa: F401
from small_models import BrightestSpot, ColourSoFar, MeanColour
from test_predict import save
from test_report import summary

from vidcore import Task
from vidcore.cli import main
from vidcore.metrics import ClassificationMetrics, DetectionMetrics
from vidcore.predict.rows import Output
from vidcore.prediction import top
from vidcore.report import page
from vidcore.report.summary import points
from vidcore.text import to_json
from vidcore.video.render import draw

THREE = Task("single_label", tuple(COLOURS))


def strict(text):
    """Decodes JSON as other languages do, to which NaN and Infinity are errors."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def broken(model):
    """The model, which answers NaN, as after a training that diverged."""
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, math.nan)
    return model


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
@pytest.mark.parametrize("rows", [1, 8], ids=["one NaN", "all NaN"])
def test_metrics_of_nan_are_nan(kind, rows):
    logits = torch.randn(8, 7, generator=torch.Generator().manual_seed(0))
    logits[:rows, 2] = math.nan
    target = torch.arange(8) % 7 if kind == "single_label" else torch.eye(7)[torch.arange(8) % 7]
    metrics = ClassificationMetrics(Task.numbered(7, kind))
    metrics.update(logits, target, [str(row) for row in range(8)])
    values = metrics.compute()
    assert values.keys() == ({"top1", "top5", "mean_class"} if kind == "single_label" else {"map"})
    assert all(value.isnan() for value in values.values())


@pytest.mark.parametrize("field", ["boxes", "scores"])
def test_detections_of_nan_are_nan(field):
    pytest.importorskip("faster_coco_eval")
    true = {
        "boxes": torch.tensor([[0.0, 0, 9, 9]]),
        "labels": torch.zeros(1, dtype=torch.long),
        "frames": torch.zeros(1, dtype=torch.long),
    }
    found = {**true, "scores": torch.ones(1)}
    metrics = DetectionMetrics()
    metrics.update([found, {**found, field: found[field] * math.nan}], [true, true], frames=1)
    values = metrics.compute()
    assert values["map"].isnan() and values["map50"].isnan()


def test_unknown_scores_come_last():
    best = top(torch.tensor([0.0, math.nan, 2.0]), Task.numbered(3, "multi_label"))
    assert [row["class"] for row in best] == ["2", "0", "1"]
    assert math.isnan(best[2]["score"])


def test_json_has_no_nan():
    value = {"a": [math.nan, {"b": -math.inf}], "c": (1.5, "NaN", None, True)}
    assert strict(to_json(value)) == {"a": [None, {"b": None}], "c": [1.5, "NaN", None, True]}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_rows_of_nan_are_null(installed, tmp_path, capsys, ending, kind):  # noqa: F811
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    Colours("clips", per_class=1).prepare_data()
    checkpoint = save(broken(MeanColour(Task(kind, tuple(COLOURS)))), "mean", tmp_path / "nan.ckpt")
    command = ["predict", "clips", "--ckpt_path", checkpoint, "--accelerator", "cpu", "--render", "drawn"]
    assert main(command) == 0
    rows = list(map(strict, capsys.readouterr().out.splitlines()))
    assert [[best["score"] for best in row["top"]] for row in rows] == 3 * [3 * [None]]
    output = Output(f"out.{ending}")
    assert main([*command, "--output", str(output.path)]) == 0
    assert "vid: 3 videos have scores that are not numbers" in capsys.readouterr().err
    assert [row["top"] for row in output.read()] == [row["top"] for row in rows]
    assert main([*command, "--output", str(output.path)]) == 0
    assert "3 of 3 videos are in" in capsys.readouterr().err


def test_rows_of_detections_of_nan(installed, tmp_path, capsys, monkeypatch):  # noqa: F811
    forward = BrightestSpot.forward

    def unknown(self, batch):
        output = forward(self, batch)
        for found in output.detections:
            found["scores"] = found["scores"] * math.nan
            found["boxes"] = found["boxes"] / 0
        return output

    monkeypatch.setattr(BrightestSpot, "forward", unknown)
    Colours("clips", per_class=1).prepare_data()
    checkpoint = save(BrightestSpot(Task("detection", ("spot",))), "spot", tmp_path / "spot.ckpt")
    argv = ["predict", "clips", "--ckpt_path", checkpoint, "--accelerator", "cpu", "--render", "drawn"]
    assert main(argv) == 0
    said = capsys.readouterr()
    for row in map(strict, said.out.splitlines()):
        assert {found["score"] for found in row["detections"]} == {None}
        assert all(None in found["box"] for found in row["detections"])
    assert "3 videos have scores that are not numbers" in said.err


def test_boxes_that_are_not_finite_are_not_drawn():
    frames = torch.zeros(1, 3, 240, 240, dtype=torch.uint8)
    boxes = torch.tensor([[math.nan, 0, 50, 50], [0, 0, math.inf, 50], [0, -math.inf, 50, 50]])
    assert torch.equal(draw(frames, [], {"boxes": [{"boxes": boxes}]}), draw(frames, []))
    assert torch.equal(draw(frames, [], {"windows": boxes[:1]}), draw(frames, []))


def test_a_stream_of_nan(fake_plugins, installed, tmp_path, capsys, monkeypatch):  # noqa: F811
    plugin = "PLUGIN_API = 1\nfrom small_models import ColourSoFar\n"
    fake_plugins.add("vidcore-more", {"vidcore.models": {"sofar": "vid_more:ColourSoFar"}}, {"vid_more": plugin})
    monkeypatch.delenv("VID_PLUGINS")
    Colours("clips", per_class=1).prepare_data()
    checkpoint = save(broken(ColourSoFar(THREE)), "sofar", tmp_path / "nan.ckpt")
    assert main(["stream", "clips/red_0.mp4", "--ckpt_path", checkpoint, "--render", "seen.mp4"]) == 0
    rows = list(map(strict, capsys.readouterr().out.splitlines()))
    assert len(rows) == 6 and {best["score"] for row in rows for best in row["top"]} == {None}


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_training_that_diverges(installed, capsys, monkeypatch, epoch):  # noqa: F811
    step = MeanColour.training_step

    def diverging(self, batch, batch_idx):
        return step(self, batch, batch_idx) * (math.nan if self.current_epoch == epoch else 1)

    monkeypatch.setattr(MeanColour, "training_step", diverging)
    assert main(fit(epochs=6)) == 1
    said = capsys.readouterr().err
    assert (
        f"vid: error: training diverged: NaN or infinite after epoch {epoch + 1}: train/loss, val/loss, weights" in said
    )
    assert "best" not in said and "next:" not in said and "Traceback" not in said
    checkpoints = run(0) / "checkpoints"
    assert {path.name for path in checkpoints.glob("*")} == ({"best.ckpt", "last.ckpt"} if epoch else set())
    for path in checkpoints.glob("*"):
        saved = torch.load(path, weights_only=True)
        assert all(value.isfinite().all() for value in saved["state_dict"].values())
        assert saved["epoch"] < epoch
    told = strict((run(0) / "report" / "summary.json").read_text())
    assert told["metrics"]["val/top1"] is None
    assert "unknown" in (run(0) / "report" / "index.html").read_text()
    assert (run(0) / "report" / "curves.png").is_file()
    assert (run(0) / "report" / "example_1.mp4").is_file()
    assert not (run(0) / "report" / "confusion.png").exists()


def test_a_loss_that_is_infinite_is_told(installed, capsys, monkeypatch):  # noqa: F811
    def infinite(self, output, batch):
        return output.logits.sum() * 0 + (0 if self.training else math.inf)

    monkeypatch.setattr(MeanColour, "loss", infinite)
    assert main(fit()) == 1
    said = capsys.readouterr().err
    assert "vid: error: training diverged: NaN or infinite after epoch 1: val/loss;" in said
    assert "best checkpoint" not in said and "next:" not in said


def test_other_runs_without_a_number_are_no_points(tmp_path):
    for name, value in (("a", math.nan), ("b", math.inf), ("c", 0.5)):
        folder = tmp_path / name / "version_0" / "report"
        folder.mkdir(parents=True)
        told = summary(run=f"{name}/version_0", metrics={"test/top1": value, "test/gmacs": 2.0}).as_dict()
        (folder / "summary.json").write_text(json.dumps(told) if name == "a" else to_json(told))
    assert points(summary(), tmp_path).keys() == {"c/version_0", "mean_colours/version_0"}


def test_a_page_of_nan(tmp_path):
    history = [{"epoch": 1.0, "train/loss": 1.0, "test/top1": 0.25}, {"epoch": 2.0, "train/loss": math.nan}]
    history.append({"epoch": 3.0, "train/loss": math.nan, "test/top1": math.nan})
    unknown = summary(history=history, metrics={"test/top1": math.nan, "test/gmacs": 0.5}, scores=None, targets=None)
    page.write(unknown, tmp_path / "report", tmp_path)
    text = (tmp_path / "report" / "index.html").read_text()
    assert "best 25.0 %, epoch 1" in text
    assert strict((tmp_path / "report" / "summary.json").read_text())["metrics"]["test/top1"] is None
    never = summary(history=history[1:], metrics={"test/top1": math.nan}, scores=None, targets=None)
    page.write(never, tmp_path / "report", tmp_path)
    assert "epoch 3" not in (tmp_path / "report" / "index.html").read_text()
