"""One step of a stream as a file, and what runs it."""

from __future__ import annotations

import json

import colours
import pytest
import torch
from safetensors.torch import save_file
from small_models import ColourSoFar, MeanColour

from vidcore import Output, Task, UserError
from vidcore.cli import main
from vidcore.streaming import Streaming, stream
from vidcore_deploy.export import ExportError
from vidcore_deploy.step import Step, StepEngine, export_step

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
TASK = Task("single_label", ("red", "green", "blue"))


def streaming():
    torch.manual_seed(0)
    return ColourSoFar(TASK, clip={"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("step")
    video = str(colours.write(folder / "red.mp4", (255, 0, 0), 0))
    module = streaming()
    return module, folder / "step.onnx", export_step(module, folder / "step.onnx", [video])


def frames(count):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (1, 3, count, 16, 16), generator=generator, dtype=torch.uint8)


def test_the_engine_is_the_model(written):
    module, path, exported = written
    assert [found.clips for found in exported.differences] == ["1 given video", "random noise"]
    engine = StepEngine(path, threads=1)
    assert isinstance(engine, Streaming)
    assert (engine.task, engine.clip_spec) == (TASK, module.clip_spec)
    expected = stream(Step(module), frames(50), [1] * 50)
    torch.testing.assert_close(stream(engine, frames(50), [1] * 50), expected, rtol=0, atol=1e-5)


def test_what_is_only_renamed_is_not_computed(written):
    session = onnxruntime.InferenceSession(written[1])
    assert {output.name for output in session.get_outputs()} == {"logits", "new.mean", "new.seen", "new.ago1"}
    assert json.loads(session.get_modelmeta().custom_metadata_map["carried"]) == {"ago2": "ago1"}


def test_torch_export_of_a_step(tmp_path):
    exported = export_step(streaming(), tmp_path / "step.pt2")
    assert all(found.relative < 1e-6 for found in exported.differences)
    assert (tmp_path / "step.pt2").exists()


def test_a_step_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    once = StepEngine.step

    def off(self, frame, state):
        output, state = once(self, frame, state)
        return Output(logits=output.logits + 0.01 * state["seen"]), state

    monkeypatch.setattr(StepEngine, "step", off)
    with pytest.raises(ExportError, match="is not written: on a video made for this"):
        export_step(streaming(), tmp_path / "step.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_stream_is_refused(tmp_path):
    with pytest.raises(UserError, match="MeanColour does not stream"):
        export_step(MeanColour(TASK), tmp_path / "step.onnx")


def test_files_that_are_no_engine(tmp_path, written):
    with pytest.raises(UserError, match="no engine at"):
        StepEngine(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(UserError, match=r"text.onnx is no step of a model, as vid export --step writes it"):
        StepEngine(tmp_path / "text.onnx")
    with pytest.raises(UserError, match="for 1 stream of 16²"):
        StepEngine(written[1]).init_state(2, (16, 16))


def test_the_command(fake_plugins, monkeypatch, tmp_path, capsys):
    module = "PLUGIN_API = 1\nfrom small_models import ColourSoFar\n"
    fake_plugins.add("vidcore-small", {"vidcore.models": {"sofar": "vid_small:ColourSoFar"}}, {"vid_small": module})
    monkeypatch.setenv("VID_PLUGINS", "vidcore-small,vidcore-deploy")
    monkeypatch.chdir(tmp_path)
    save_file(streaming().state_dict(), "sofar.safetensors")
    options = ["--model", "sofar", "--weights", "sofar.safetensors", "--classes", "3"]
    assert main(["export", "--step", *options, "--output", "step.onnx"]) == 0
    assert "one frame of one stream" in capsys.readouterr().out
    assert StepEngine("step.onnx").task.classes == ("0", "1", "2")


def test_int8(tmp_path):
    """Its convolutions have int8 weights, its state goes on, and it still tells the colours apart."""
    onnx = pytest.importorskip("onnx")
    videos = [str(colours.write(tmp_path / f"{n}.mp4", colour, n)) for n, colour in enumerate(colours.COLOURS.values())]
    module = streaming()
    exported = export_step(module, tmp_path / "step.onnx", videos, int8=True)
    assert len(exported.differences) == 1
    types = {tensor.data_type for tensor in onnx.load(tmp_path / "step.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in types
    engine = StepEngine(tmp_path / "step.onnx", threads=1)
    assert engine.task == TASK
    expected, got = (stream(model, frames(20), [1] * 20) for model in (Step(module), engine))
    assert float((got - expected).abs().max()) < 0.1 * float(expected.abs().max())
    assert not torch.equal(got, expected)


def test_int8_needs_videos(tmp_path, capsys):
    with pytest.raises(UserError, match="videos of the kind"):
        export_step(streaming(), tmp_path / "step.onnx", int8=True)
    assert main(["export", "--int8", "--model", "movinet", "--output", str(tmp_path / "step.onnx")]) == 2
    assert "--int8 needs --step" in capsys.readouterr().err
