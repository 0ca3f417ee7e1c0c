"""Exported step of a stream network in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from vidcore.streaming import stream
from vidcore.task import Task
from vidcore_deploy.step import Step, StepEngine, export_step
from vidcore_movinet.module import MoViNetModule
from vidcore_movinet.stream import StreamBottleneck

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_fifty_frames(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = MoViNetModule(Task.numbered(5), stream=True, clip={"size": 67, "frames": 8}).eval()
    for layer in module.modules():
        if isinstance(layer, StreamBottleneck):
            nn.init.constant_(layer.scale, 0.5)
    nn.init.normal_(module.net.classifier.weight, std=1.0)
    export_step(module, tmp_path / "step.onnx")
    engine = StepEngine(tmp_path / "step.onnx", threads=1)
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (1, 3, 50, 67, 67), generator=generator, dtype=torch.uint8)
    expected = stream(Step(module), frames, [1] * 50)
    assert expected.std() > 0.01
    torch.testing.assert_close(
        stream(engine, frames, [1] * 50), expected, rtol=0, atol=1e-4 * float(expected.abs().max())
    )
    assert (
        len(engine.init_state(1, (67, 67))) - len(engine._session.get_outputs()) + 1 == 17
    )  # frames of stream buffers that are only renamed
