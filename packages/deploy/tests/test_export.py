from __future__ import annotations

import importlib.util
import json

import colours
import pytest
import torch
from safetensors.torch import save_file
from small_models import BrightestSpot, LookOrListen, MeanColour

from vidcore import Output, Task
from vidcore.cli import main
from vidcore_deploy import export as exporting
from vidcore_deploy.clips import read_batch
from vidcore_deploy.export import ExportError, export

TASK = Task("single_label", tuple(colours.COLOURS))

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason='needs "vidcore-deploy[onnx]"',
)


class Branching(MeanColour):
    """Runs another network for bright clips."""

    def forward(self, batch):
        rgb = batch["inputs"]["rgb"]
        if rgb.mean() > 0.5:
            return Output(logits=-self.net(rgb.mean((2, 3, 4))))
        return super().forward(batch)


def normalising():
    torch.manual_seed(0)
    return MeanColour(TASK, clip={"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)})


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return [str(colours.write(folder / f"{name}.mp4", colour, 0)) for name, colour in colours.COLOURS.items()]


def eager(module, inputs):
    with torch.no_grad():
        return module(module.normalised({"inputs": dict(inputs), "ids": ["0"]})).logits


def test_torch_export_takes_frames_as_they_are_read(videos, tmp_path):
    module = normalising()
    exported = export(module, tmp_path / "model.pt2", videos)
    assert exported.dynamic
    assert [found.clips for found in exported.differences] == ["3 given videos", "random noise"]
    extra = dict.fromkeys(["classes", "clip", "kind"], "")
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    facts = {name: json.loads(text) for name, text in extra.items()}
    assert facts["classes"] == ["red", "green", "blue"]
    assert facts["kind"] == "single_label"
    assert facts["clip"]["mean"] == [0.4, 0.5, 0.6]
    for rows in (1, 3, 5):
        inputs = read_batch(videos, module.clip_spec, rows)["inputs"]
        torch.testing.assert_close(program.module()(inputs), eager(module, inputs))
    assert program.example_inputs is None, "the file holds frames of a user's video"


@needs_onnx
def test_onnx_runs_without_torch_in_it(videos, tmp_path):
    import onnxruntime

    module = normalising()
    exported = export(module, tmp_path / "out" / "model.onnx", videos)
    assert exported.dynamic
    assert max(found.relative for found in exported.differences) < 1e-5
    session = onnxruntime.InferenceSession(exported.path)
    (rgb,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (rgb.name, rgb.type, rgb.shape) == ("rgb", "tensor(uint8)", ["batch", 3, 2, 16, 16])
    assert (logits.name, logits.shape) == ("logits", ["batch", 3])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["red", "green", "blue"]
    assert json.loads(facts["clip"])["frames"] == 2
    for rows in (1, 3, 5):
        inputs = read_batch(videos, module.clip_spec, rows)["inputs"]
        (got,) = session.run(None, {"rgb": inputs["rgb"].numpy()})
        torch.testing.assert_close(torch.from_numpy(got), eager(module, inputs))
    assert [path.name for path in exported.path.parent.iterdir()] == ["model.onnx"]


def test_a_model_of_two_modalities_whose_batch_is_fixed(tmp_path):
    module = LookOrListen(TASK).eval()
    exported = export(module, tmp_path / "model.pt2")
    assert not exported.dynamic
    assert "made for this" in exported.differences[0].clips
    inputs = {"rgb": torch.randint(0, 256, (1, 3, 2, 16, 16), dtype=torch.uint8), "audio": torch.rand(1, 2, 4000)}
    got = torch.export.load(exported.path).module()(inputs)
    torch.testing.assert_close(got, eager(module, inputs))


def test_a_graph_that_computes_something_else_is_not_written(videos, tmp_path, monkeypatch):
    load = exporting._load_pt2

    def off(path):
        run = load(path)
        return lambda inputs: run(inputs) * 1.001

    monkeypatch.setattr(exporting, "_load_pt2", off)
    (tmp_path / "model.pt2").write_text("what was there before")
    with pytest.raises(ExportError, match=r"on 3 given videos its logits differ from eager's by 0.001 of the largest"):
        export(normalising(), tmp_path / "model.pt2", videos)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert (tmp_path / "model.pt2").read_text() == "what was there before"


def test_logits_that_are_no_numbers_do_not_pass(videos, tmp_path):
    module = normalising()
    module.net[3].bias.data[0] = float("nan")
    with pytest.raises(ExportError, match="differ from eager"):
        export(module, tmp_path / "model.pt2", videos)


def test_a_branch_on_data_is_named(videos, tmp_path, capfd):
    with pytest.raises(ExportError) as caught:
        export(Branching(TASK), tmp_path / "model.pt2", videos)
    text = str(caught.value)
    assert text.startswith("Branching cannot be exported: what it runs depends on what it sees")
    assert "if rgb.mean() > 0.5:" in text
    assert len(text) < 500 and "\n" not in text
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == "", "pages of torch"


def test_a_detector_is_refused(videos, tmp_path):
    with pytest.raises(ExportError, match="BrightestSpot returns no logits"):
        export(BrightestSpot(Task("detection", ("spot",))), tmp_path / "model.pt2", videos)


def test_the_command(installed, videos, tmp_path, capsys):
    save_file(MeanColour(TASK).state_dict(), tmp_path / "mean.safetensors")
    options = ["--model", "mean", "--weights", "mean.safetensors", "--classes", "3"]
    assert main(["export", *options, "--output", "model.pt2", videos[0]]) == 0
    printed = capsys.readouterr().out
    assert "on 1 given video: logits differ by 0, 0 of the largest" in printed
    assert "on random noise: " in printed
    assert "any number of clips a batch" in printed
    assert (tmp_path / "model.pt2").exists()
    assert main(["export", "--model", "mean", "--output", "untrained.pt2"]) == 2
    assert "needs --weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "arguments are required: --output"),
        (["--output", "model.onnx"], "needs --ckpt_path FILE or --model NAME"),
        (["--output", "model.pb", "--model", "mean"], "--output model.pb must end in .onnx, .tflite, .pt2"),
        (["--output", "model.tflite", "--model", "mean"], "a .tflite file holds the step of a stream: add --step"),
        (["--output", "model.pt2", "--model", "mean", "missing.mp4"], "no file missing.mp4"),
        (["--output", "model.pt2", "--ckpt_path", "missing.ckpt"], "no checkpoint at missing.ckpt"),
    ],
)
def test_usage_errors(installed, capsys, argv, says):
    assert main(["export", *argv]) == 2
    assert says in capsys.readouterr().err


def test_missing_packages_are_named(installed, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else find(name))
    assert main(["export", "--model", "mean", "--output", "model.onnx"]) == 1
    error = capsys.readouterr().err
    assert 'needs onnx, onnxscript, onnxruntime: pip install "vidcore-deploy[onnx]"' in error
