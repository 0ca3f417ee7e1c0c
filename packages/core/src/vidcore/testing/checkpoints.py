"""Tests of checkpoints and export."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcore.batch import Batch, Output
from vidcore.module import load_module
from vidcore.testing.batches import row_of, task_of, without_target
from vidcore.testing.fitting import Trained
from vidcore.testing.suite import ask, difference, row_answers
from vidcore.weights import reason_of


class CheckpointTests(Trained):
    """Tests of checkpoints and exported programs."""

    def test_checkpoint_holds_no_pickle(self) -> None:
        """A checkpoint of a real Trainer loads with ``weights_only=True``, which runs no code."""
        training = self.training()
        try:
            torch.load(io.BytesIO(training.checkpoint), weights_only=True)
        except Exception as error:
            reason = "; ".join(training.not_plain) or reason_of(error)
            raise AssertionError(
                f"the checkpoint does not load with weights_only=True: {reason}. Keep numbers, texts, lists, dicts and "
                "tensors in hyperparameters, extra state and on_save_checkpoint"
            ) from error

    def test_checkpoint_alone_predicts_the_same(self) -> None:
        """A model loaded from the checkpoint file alone gives the same results as the saved one."""
        training = self.training()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.ckpt"
            path.write_bytes(training.checkpoint)
            try:
                torch.load(path, weights_only=True)
            except Exception:
                pytest.skip("it cannot be loaded safely: see test_checkpoint_holds_no_pickle")
            model = load_module(path)
        assert type(model) is self.model_class(), f"the checkpoint gives a {type(model).__name__}"
        assert model.task == task_of(self.batch), f"the checkpoint's task is {model.task}"
        ours, theirs = self.new().clip_spec, model.clip_spec
        assert ours == theirs, f"the model has {ours}, and {theirs} once loaded"
        text = difference(self.answers(model, self.batch), training.answers)
        assert not text, (
            f"loaded from its checkpoint, {text}: what forward uses must be a parameter, a buffer or an argument of "
            "__init__"
        )

    def test_export_equals_eager(self) -> None:
        """A program exported with one row gives the same results as the model for another row."""
        model = self.model()
        self.answers(model, self.batch)
        example, other = (without_target(row_of(self.batch, row)) for row in (0, 1))
        for inputs in (example, other):
            inputs.pop("present", None)
        try:
            theirs = ask(model, other)
        except KeyError:
            pytest.skip("it does not answer without a target: see test_needs_no_target_to_predict")
        try:
            with torch.no_grad():
                program = torch.export.export(_Program(model), (example["inputs"],), strict=False)
        except Exception as error:
            raise AssertionError(
                f"torch.export fails: {str(error).splitlines()[0]}. Where the method itself branches on values, "
                "override this test and skip it with that reason"
            ) from error
        exported = program.module()(other["inputs"])
        ours = Output(detections=exported) if isinstance(exported, list) else Output(logits=exported)
        expected = [{name: value for name, value in theirs[0].items() if name != "step_logits"}]
        text = difference([row_answers(ours, 0)], expected)
        assert not text, (
            f"exported and eager, {text}: forward converts tensors to Python numbers, or behaves differently in export"
        )


class _Program(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, Tensor]) -> Any:
        output = self.model(Batch(inputs=inputs, ids=["0"]))
        return output.logits if output.logits is not None else output.detections
