"""One step of a stream as a LiteRT file. The converter is an optional install, which `nox -s litert` has."""

from __future__ import annotations

import sys

import pytest
import torch
from small_models import ColourSoFar

from vidcore import Task, UserError
from vidcore_deploy.litert import LiteRTEngine
from vidcore_deploy.step import Step, export_step, open_engine

TASK = Task("single_label", ("red", "green", "blue"))


def test_a_step_for_litert_equals_eager(tmp_path):
    pytest.importorskip("litert_torch")
    torch.manual_seed(0)
    module = ColourSoFar(TASK, clip={"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)})
    exported = export_step(module, tmp_path / "step.tflite")
    assert [found.relative < 1e-4 for found in exported.differences] == [True, True]
    engine, model = open_engine(tmp_path / "step.tflite", threads=1), Step(module.eval())
    assert isinstance(engine, LiteRTEngine)
    assert (engine.task, engine.clip_spec) == (module.task, module.clip_spec)
    ours, theirs = model.init_state(1, (16, 16)), engine.init_state(1, (16, 16))
    with torch.no_grad():
        for _ in range(5):
            frame = torch.randint(0, 256, (1, 3, 1, 16, 16), dtype=torch.uint8)
            (expected, ours), (got, theirs) = model.step(frame, ours), engine.step(frame, theirs)
            torch.testing.assert_close(got.logits, expected.logits, rtol=1e-4, atol=1e-5)
    (tmp_path / "text.tflite").write_text("no model")
    with pytest.raises(UserError, match=r"text\.tflite is no step of a model"):
        open_engine(tmp_path / "text.tflite")
    with pytest.raises(UserError, match="no engine at"):
        open_engine(tmp_path / "missing.tflite")


def test_what_litert_needs(tmp_path, monkeypatch):
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r'pip install "vidcore-deploy\[litert\]"'):
        open_engine(tmp_path / "step.tflite")
