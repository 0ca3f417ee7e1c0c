"""Tests of a model's results."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path

from vidcore import plugins
from vidcore.hparams import class_path_of
from vidcore.module import VideoModule
from vidcore.testing.batches import row_of, task_of, without_target
from vidcore.testing.suite import Suite, ask, difference, run, unlike
from vidcore.training.optim import Optim


class AnswerTests(Suite):
    """Tests of installation, construction, and ``forward``."""

    def test_is_installed_under_its_name(self) -> None:
        """The entry point loads, and its alias is the class path in saved configs and checkpoints."""
        found = self.model_class()
        assert isinstance(found, type) and issubclass(found, VideoModule), f"{found!r} is not a VideoModule class"
        if not isinstance(self.name, str):
            pytest.skip("given as a class, not by the name that it is installed under")
        plugin = plugins.find("vidcore.models", self.name)
        path = class_path_of(found, "vidcore.models")
        assert path == f"vidcore.models.{self.name}", (
            f"checkpoints would call it {path}: the entry point {plugin.entry_point.value} must name the class as "
            f"{found.__qualname__}, in the package that defines it"
        )

    def test_takes_the_common_options(self) -> None:
        """``**kwargs`` reach ``VideoModule``: each option takes effect under its own name."""
        given = {"optim": Optim("sgd", lr=0.125), "label_smoothing": 0.125, "weights": "start.ckpt"}
        model = self.build(**given)
        for option, value in given.items():
            got = getattr(model, option)
            assert got == value, f"{option}={value!r} became {got!r}: pass **kwargs on to super().__init__"
        clip = model.hparams.get("clip")
        shapes = {name: tuple(value.shape[1:]) for name, value in self.batch["inputs"].items()}
        wanted = {name: tuple(value.shape[1:]) for name, value in model.example_batch()["inputs"].items()}
        assert wanted == shapes, (
            f"a row of the suite's batch is {shapes}, but with clip={clip} the model expects {wanted}: "
            "pass **kwargs on to super().__init__, or correct the batch"
        )

    def test_starts_the_same_from_the_same_seed(self) -> None:
        """Weights are drawn from the generators of torch, numpy or Python, which ``--seed_everything`` seeds."""
        first, second = self.build().state_dict(), self.build().state_dict()
        for name, value in first.items():
            if isinstance(value, Tensor):
                assert torch.equal(value, second[name]), (
                    f"{name} differs between two models from one seed: draw it from torch's global generator"
                )

    def test_output_has_the_form_that_the_task_asks_for(self) -> None:
        """The output has the shapes and dtypes of the task, and finite values."""
        output, rows, task = run(self.model(), self.batch), len(self.batch["ids"]), task_of(self.batch)
        if task.kind != "detection":
            assert output.logits is not None, "Output.logits is missing, which this task requires"
            assert output.logits.shape == (rows, task.num_classes), (
                f"logits are {tuple(output.logits.shape)}, not (B, K) = {(rows, task.num_classes)}"
            )
        else:
            assert output.detections is not None, "Output.detections is missing, which this task requires"
            assert len(output.detections) == rows, f"{len(output.detections)} rows of detections for {rows} rows"
            frames = self.batch["inputs"]["rgb"].shape[2]
            for found in output.detections:
                _check_detections(found, frames, task.num_classes)
        if output.step_logits is not None:
            steps = output.step_logits
            assert steps.dim() == 3 and steps.shape[::2] == (rows, task.num_classes), (
                f"step_logits are {tuple(steps.shape)}, not (B, T, K)"
            )
            text = unlike(steps[:, -1], output.logits)
            assert not text, f"the last of step_logits and logits {text}: they must be equal"
        for name, value in (("logits", output.logits), ("step_logits", output.step_logits)):
            if value is not None:
                assert value.is_floating_point(), f"{name} are {value.dtype}, not floating point"
                assert value.isfinite().all(), f"{name} hold NaN or infinity for a batch of noise"

    def test_eval_is_deterministic(self) -> None:
        """In eval mode the same batch gives the same results, whatever the seed."""
        model = self.model()
        text = difference(ask(model, self.batch), ask(model, self.batch, seed=1))
        assert not text, f"in eval mode, {text} from one time to the next: draw only where self.training"

    def test_rows_do_not_influence_each_other(self) -> None:
        """In eval mode a row alone gives the same results as in a batch."""
        model = self.model()
        together = self.answers(model, self.batch)
        alone = [ask(model, row_of(self.batch, row))[0] for row in range(len(together))]
        text = difference(together, alone)
        assert not text, f"in a batch and alone, {text}: something is computed over the batch's dimension"

    def test_forward_leaves_the_batch_alone(self) -> None:
        """``forward`` does not change the batch."""
        for mode in (False, True):
            model, batch = self.model().train(mode), self.new_batch()
            with torch.no_grad():
                model(batch)
            before, after = _leaves(self.batch), _leaves(batch)
            assert before.keys() == after.keys(), f"forward changes the batch: {before.keys() ^ after.keys()}"
            for where, value in before.items():
                same = torch.equal(value, after[where]) if isinstance(value, Tensor) else value == after[where]
                assert same, f"forward changes batch{where}: do not work in place on what the batch holds"

    def test_needs_no_target_to_predict(self) -> None:
        """``predict_step`` on an unlabelled batch returns one JSON-compatible row per video."""
        model, batch = self.model(), without_target(self.batch)
        try:
            output = run(model, batch)
        except KeyError as error:
            raise AssertionError(f"forward in eval mode fails without {error}: an unlabelled batch has none") from error
        self.macs_of(output)
        self.costed(model)
        with torch.no_grad():
            rows = model.predict_step(batch, 0)
        assert [row.get("path") for row in rows] == list(dict.fromkeys(self.batch["ids"]))
        for row in rows:
            assert "top" in row or "detections" in row, f"a row of predict_step has {', '.join(row)} and no prediction"
            json.dumps({name: value for name, value in row.items() if name != "trace"})


def _check_detections(found: dict[str, Tensor], frames: int, classes: int) -> None:
    missing = {"boxes", "scores", "labels", "frames"} - found.keys()
    assert not missing, f"detections lack {', '.join(sorted(missing))}"
    number = len(found["boxes"])
    for name in ("scores", "labels", "frames"):
        shape = tuple(found[name].shape)
        assert shape == (number,), f"detections' {name} have shape {shape}, where there are {number} boxes"
    assert found["boxes"].shape == (number, 4), f"detections' boxes are {tuple(found['boxes'].shape)}, not (N, 4)"
    assert found["boxes"].isfinite().all(), "detections' boxes hold NaN or infinity"
    for name, end in (("labels", classes), ("frames", frames)):
        value = found[name]
        assert not value.is_floating_point() and ((value >= 0) & (value < end)).all(), (
            f"detections' {name} must be integers from 0 to {end - 1}"
        )
    scores = found["scores"]
    assert ((scores >= 0) & (scores <= 1)).all(), "detections' scores must be in [0, 1]"


def _leaves(batch: Any) -> dict[str, Any]:
    return {keystr(path): value for path, value in tree_flatten_with_path(dict(batch))[0]}
