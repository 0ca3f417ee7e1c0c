from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from running import COMMON, curve, fit, installed, run  # noqa: F401
from small_models import LookOrListen, MeanColour

from vidcore import ClipSpec, Output, Task
from vidcore.cli import main
from vidcore.report import figures, page
from vidcore.report.callback import Report
from vidcore.report.examples import EXAMPLES, Collector, Example, example
from vidcore.report.summary import Component, Summary, points
from vidcore.report.units import called, written
from vidcore.video import open_video
from vidcore.video.render import frames_of


def summary(**changes):
    frames = torch.randint(0, 255, (3, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    values = {
        "run": "mean_colours/version_0",
        "model": "mean",
        "data": "colours",
        "split": "test",
        "task": Task("single_label", ("red", "<b>green</b>", "blue")),
        "parameters": 1_234_567,
        "metrics": {"test/top1": 0.75, "test/gmacs": 0.5, "test/ms": 12.34, "test/peak_memory_mb": 1234.5},
        "components": [Component("see", 1_000_000, 0.4, 1.0), Component("hear", 234_567, 0.2, 0.5)],
        "history": [{"epoch": 1.0, "train/loss": 2.0, "val/top1": 0.5}, {"epoch": 2.0, "train/loss": 1.0}],
        "scores": np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0, 0, 1]], dtype=np.float32),
        "targets": np.array([0, 1, 1, 2]),
        "examples": [Example("a/b c.mp4", frames, "red 90 %", "<b>green</b>", False, 0.5, 4.0)],
        "config": "model: <mean>\n",
        "versions": {"vidcore": "1.2.3"},
    }
    return Summary(**{**values, **changes})


@pytest.mark.parametrize(
    ("metric", "value", "says"),
    [
        ("test/top1", 0.7512, "75.1 %"),
        ("val/map50", 1.0, "100.0 %"),
        ("test/gmacs", 0.0187748, "0.01877 GMACs"),
        ("test/ms", 12.345, "12.35 ms"),
        ("test/peak_memory_mb", 12345.6, "12,346 MB"),
        ("val/loss", 0.69314, "0.6931"),
        ("test/gmacs", float("nan"), "unknown"),
    ],
)
def test_figures_are_written_with_their_units(metric, value, says):
    assert written(metric, value) == says


def test_curves_show_each_metric_where_it_was_measured():
    history = [{"epoch": 1, "seconds": 3.0, "train/loss": 2.0, "val/loss": 2.5, "val/top1": 0.5}]
    history += [{"epoch": 2, "train/loss": 1.0}, {"epoch": 3, "train/loss": 0.5, "val/loss": 0.7, "val/top1": 0.9}]
    loss, accuracy = figures.curves(history).axes
    lines = {line.get_label(): line.get_xydata().tolist() for axes in (loss, accuracy) for line in axes.lines}
    assert lines == {
        "train loss": [[1, 2.0], [2, 1.0], [3, 0.5]],
        "val loss": [[1, 2.5], [3, 0.7]],
        "val top-1": [[1, 0.5], [3, 0.9]],
    }


@pytest.mark.parametrize("number", [3, 50, 51])
def test_confusion_is_of_each_true_class_and_names_what_is_legible(number):
    matrix = np.eye(number) * 4
    matrix[0, 1] = 4
    matrix[2] = 0  # a class that does not occur
    axes = figures.confusion(matrix, [f"class {index}" for index in range(number)]).axes[0]
    shares = np.asarray(axes.images[0].get_array())
    assert shares[0, :3].tolist() == [0.5, 0.5, 0]
    assert shares[1, 1] == 1
    assert not shares[2].any()
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == (["class 0", "class 1"] if number < 51 else [])


def test_bars_of_classes_are_best_first_without_those_that_did_not_occur():
    axes = figures.per_class(np.array([0.2, np.nan, 0.9]), ["a", "b", "c"]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "a"]
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.2]


def test_the_page_shows_the_share_of_parts_that_each_component_ran_for(tmp_path):
    shares = {"test/share_hear": 0.375}
    page.write(summary(metrics={**summary().metrics, **shares}), tmp_path / "report", tmp_path)
    rows = re.findall(r"<tr><td>(see|hear)</td>.*?</tr>", (tmp_path / "report" / "index.html").read_text(), re.S)
    assert rows == ["see", "hear"]
    cells = re.findall(r"<tr><td>(?:see|hear)</td>(.*?)</tr>", (tmp_path / "report" / "index.html").read_text(), re.S)
    assert [re.findall(r"<td>([^<]*)</td>", row)[-1] for row in cells] == ["", "0.375"]


def test_the_page_shows_everything_and_needs_nothing_else(tmp_path):
    folder = tmp_path / "runs" / "mean_colours" / "version_0" / "report"
    page.write(summary(), folder, tmp_path / "runs")
    text = (folder / "index.html").read_text()
    for link in re.findall(r'(?:src|poster|href)="([^"]+)"', text):
        assert (folder / link).is_file(), link
    assert "//" not in re.sub(r"<!doctype.*?>", "", text), "nothing is fetched"
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    for words in ("75.0 %", "0.5 GMACs", "12.34 ms", "1,234 MB", "1.23 M", "vidcore 1.2.3", "b c.mp4", "red 90 %"):
        assert words in shown
    assert "model: &lt;mean&gt;" in shown
    assert "true: &lt;b&gt;green&lt;/b&gt;" in shown
    assert {path.name for path in folder.glob("*.png")} == {
        "accuracy_gmacs.png",
        "confusion.png",
        "curves.png",
        "example_1.png",
    }
    with open_video(folder / "example_1.mp4") as video:
        assert video.num_frames == 3
        assert video.size[0] > 240, "enlarged, with a band of text"


def test_the_point_stands_among_other_runs_on_the_same_data(tmp_path):
    others = {
        "a/version_0": {"metrics": {"test/top1": 0.5, "test/gmacs": 2.0}},
        "b/version_0": {"data": "other"},
        "c/version_0": {"split": "val", "metrics": {"val/top1": 0.5, "val/gmacs": 2.0}},
    }
    for name, changes in others.items():
        (tmp_path / name / "report").mkdir(parents=True)
        text = json.dumps(summary(run=name, **changes).as_dict())
        (tmp_path / name / "report" / "summary.json").write_text(text)
    (tmp_path / "a" / "version_1" / "report").mkdir(parents=True)
    (tmp_path / "a" / "version_1" / "report" / "summary.json").write_text("{half")
    found = points(summary(), tmp_path)
    assert found == {"a/version_0": (2.0, 0.5), "mean_colours/version_0": (0.5, 0.75)}
    axes = figures.accuracy_gmacs(found, "mean_colours/version_0", called("test/top1")).axes[0]
    assert sorted(dots.get_offsets().tolist()[0] for dots in axes.collections) == [[0.5, 0.75], [2.0, 0.5]]


def test_frames_are_shown_as_they_were_before_normalisation():
    frames = torch.randint(0, 256, (4, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spec = ClipSpec(frames=4, size=6, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    model = MeanColour(Task.numbered(2))
    model.clip_spec = spec
    batch = model.normalised({"inputs": {"rgb": frames.transpose(0, 1)[None]}, "ids": ["a"]})
    assert torch.equal(frames_of(batch["inputs"]["rgb"][0], spec), frames)


def batches(model, number, rows, views=1):
    for index in range(number):
        batch = model.example_batch(rows * views)
        batch["ids"] = [f"{index}.{row}" for row in range(rows) for _ in range(views)]
        batch["target"] = torch.zeros(rows * views, dtype=torch.long)
        yield index, batch


@pytest.mark.parametrize(("number", "rows"), [(1, 20), (3, 5), (8, 2), (100, 4), (2, 1)])
def test_examples_are_spread_over_the_evaluation(number, rows):
    model = MeanColour(Task.numbered(3)).eval()
    collector = Collector(model, number, show=True)
    for index, batch in batches(model, number, rows):
        collector.add(model(batch), batch, index)
    ids = [shown.id for shown in collector.examples]
    assert len(ids) == len(set(ids)) == min(EXAMPLES, number * rows)
    assert float(ids[-1]) >= 0.75 * (number - 1)
    assert collector.totals() == (number * rows, {"model": number * rows})
    assert not Collector(model, number, show=False).examples


def test_views_make_one_example_and_usage_is_counted():
    model = LookOrListen(Task.numbered(2))
    ((_, batch),) = batches(model, 1, rows=2, views=2)
    usage = {"hear": torch.tensor([1.0, 0.0, 1.0, 1.0])}
    logits = torch.tensor([[5.0, 0.0], [4.0, 0.0], [0.0, 3.0], [0.0, 2.0]])
    output = Output(logits=logits, usage=usage)
    shown = example(model, output, batch, "0.0")
    costs = model.costs()
    assert shown.gmacs * 1e9 == pytest.approx(2 * costs["see"] + costs["hear"])
    assert (shown.predicted, shown.true, shown.right) == ("0 99 %", "0", True)
    collector = Collector(model, 1, show=True)
    collector.add(output, batch, 0)
    assert collector.totals() == (4, {"see": 4, "hear": 3})
    assert [each.right for each in collector.examples] == [True, False]


def test_training_and_test_leave_a_report(installed):  # noqa: F811
    assert main(fit("--model.optim.lr", "0.05", epochs=3)) == 0
    text = (run(0) / "report" / "index.html").read_text()
    assert "mean on colours" in text
    assert text.count("<video") == 8
    assert "vidcore.models.mean" in text, "the configuration"
    fitted = json.loads((run(0) / "report" / "summary.json").read_text())
    assert fitted["metrics"]["val/top1"] == pytest.approx(curve(run(0), "val/top1")[-1][1])
    assert fitted["metrics"]["val/gmacs"] * 1e9 == pytest.approx(3 * 8 + 8 * 3)
    assert fitted["versions"]["vidcore-small"] == "1.0"

    assert main(["test", "--model", "mean", "--data", "colours", "--ckpt_path", "last", *COMMON]) == 0
    tested = json.loads((run(1) / "report" / "summary.json").read_text())
    for name in ("top1", "gmacs", "ms", "peak_memory_mb"):
        assert tested["metrics"][f"test/{name}"] == pytest.approx(curve(run(1), f"test/{name}")[0][1])
    assert {path.name for path in (run(1) / "report").glob("*.png")} >= {"confusion.png", "accuracy_gmacs.png"}
    assert not (run(1) / "report" / "curves.png").exists(), "a test has no curves"


@pytest.mark.parametrize(
    ("model", "data", "options", "pictures"),
    [
        ("mean", "colours", ["--data.kind", "multi_label"], {"curves.png", "accuracy_gmacs.png", "per_class.png"}),
        ("spot", "square", [], {"curves.png"}),
        ("listen", "colours", ["--data.audio", "true"], {"curves.png", "accuracy_gmacs.png", "confusion.png"}),
    ],
)
def test_every_kind_of_task_has_a_report(installed, model, data, options, pictures):  # noqa: F811
    if model == "spot":
        pytest.importorskip("faster_coco_eval")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*report")
        assert main(fit(*options, model=model, data=data)) == 0
    folder = run(0, f"{model}_{data}") / "report"
    assert {path.name for path in folder.glob("*.png") if "example" not in path.name} == pictures
    assert list(folder.glob("example_*.mp4"))
    if model == "listen":  # half of the videos are mute
        runs = {part["name"]: part["runs"] for part in json.loads((folder / "summary.json").read_text())["components"]}
        assert runs == {"see": 1.0, "hear": 0.5}


@pytest.mark.parametrize("where", ["page", "watching"])
def test_a_report_that_fails_is_a_warning(installed, monkeypatch, where):  # noqa: F811
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((page, "write", full) if where == "page" else (Collector, "add", full)))
    with pytest.warns(UserWarning, match="report failed, the run is not affected: OSError.*No space left"):
        assert main(fit()) == 0
    assert (run(0) / "checkpoints" / "best.ckpt").is_file()
    assert (run(0) / "report" / "index.html").is_file() == (where == "watching")


def test_nothing_is_written_by_a_trial(installed):  # noqa: F811
    assert main(fit("--trainer.fast_dev_run", "1")) == 0
    assert not run(0).exists()


def test_lines_where_there_is_no_terminal(installed, capfd):  # noqa: F811
    assert main(fit(epochs=3)) == 0
    said = capfd.readouterr()
    assert "\r" not in said.err + said.out
    lines = [line for line in said.err.splitlines() if line.startswith("epoch")]
    assert len(lines) == 3
    form = r"epoch 2/3  train/loss [\d.]+  val/top1 [\d.]+ %  val/mean_class [\d.]+ %  [\d.]+ s  \d:\d\d:\d\d left"
    assert re.fullmatch(form, lines[1])


def test_a_bar_on_a_terminal(installed, capfd, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    import rich

    monkeypatch.setattr(rich, "_console", None)
    assert main(fit("--model.optim.lr", "0.02", epochs=2)) == 0
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capfd.readouterr().out)
    assert re.search(r"epoch 2/2 .*3/3.*left: \d:\d\d:\d\d train/loss: [\d.]+ val/top1: [\d.]+", shown)


def test_the_history_is_part_of_the_checkpoint():
    report = Report(Path("runs/a/version_0"), "a", "b")
    report.history = [{"epoch": 1.0, "val/top1": 0.5}]
    other = Report(Path("runs/a/version_0"), "a", "b")
    other.load_state_dict(report.state_dict())
    assert other.history == report.history
