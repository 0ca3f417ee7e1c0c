"""What the metadata of an exported step declare is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidcore import UserError
from vidcore_deploy.step import open_engine

FACTS = {"carried": "{}", "clip": "{}", "kind": '"single_label"', "classes": '["a", "b"]'}


def step_file(path: Path, **facts) -> Path:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    value = onnx.helper.make_tensor_value_info("frames", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["frames"], ["logits"])
    out = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "step", [value], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.helper.set_model_props(model, {**FACTS, "state": "{}", **facts})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"state": '{"a": [100000, 55000]}'}, "declares 22000000000 bytes of state, more than VID_MAX_STATE_BYTES"),
        ({"state": '{"a": [16000, 9000], "b": [16000, 9000]}'}, "declares 1152000000 bytes of state"),
        ({"clip": '{"size": 9000}'}, "declares 81000000 pixels"),
        ({"state": '{"a": [-5]}'}, "is no step of a model"),
        ({"state": '{"a": ["x"]}'}, "is no step of a model"),
    ],
)
def test_the_metadata_of_a_step(tmp_path, facts, reason):
    assert open_engine(step_file(tmp_path / "good.onnx", state='{"a": [3]}'))
    with pytest.raises(UserError, match=rf"step\.onnx {reason}"):
        open_engine(step_file(tmp_path / "step.onnx", **facts))
