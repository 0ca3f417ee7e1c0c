"""The LightningModule that every method derives from."""

from __future__ import annotations

import fnmatch
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import set_parsing_settings
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric

from vidcore.batch import Batch, Output
from vidcore.clip import ClipFields, ClipSpec
from vidcore.errors import UserError
from vidcore.flops import VideoCost, count_macs, macs_per_row
from vidcore.hparams import make_plain
from vidcore.metrics import ClassificationMetrics, DetectionMetrics, scores_of
from vidcore.optim import Optim, Stage
from vidcore.task import Task
from vidcore.weights import read_weights

# One value to jsonargparse, not a group of options: the command line never spells a task out.
set_parsing_settings(subclasses_enabled=[Task])

TOP = 5
"""How many classes a prediction names."""


class VideoModule(LightningModule):
    """What every method derives from: it gives a network, a clip spec and :meth:`forward`, and has the rest from here.

    A method's ``__init__`` calls ``super().__init__(task, clip_spec, **kwargs)`` first and builds its network after;
    :meth:`components`, :meth:`stages` and :meth:`training_step` are there to be overridden where the method needs it.

    Args:
        task: What is predicted; the command line passes the data's.
        clip_spec: What the method wants to be fed.
        clip: Fields of the clip spec to replace, e.g. ``{"frames": 8, "size": 112}``.
        optim: The optimiser and its schedule.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1); single_label only.
        weights: A checkpoint or safetensors file to start training from; a classifier for another number of classes
            is left as initialised.

    Raises:
        UserError: ``clip`` has an unknown field or a value that does not fit.
    """

    reference_task: Task = Task.numbered(400)
    """The task that the method's published figures are for; ``vid flops`` uses it where no data is named."""

    def __init__(
        self,
        task: Task | Mapping[str, Any],
        clip_spec: ClipSpec,
        *,
        clip: ClipFields | None = None,
        optim: Optim = Optim(),
        label_smoothing: float = 0.0,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore="clip_spec")
        make_plain(self.hparams, type(self), "vidcore.models")
        self.task = Task.of(task)
        self.clip_spec = _replaced(clip_spec, clip or {})
        self.optim = Optim.of(optim)
        self.label_smoothing = label_smoothing
        self.weights = weights
        self._stage = 0
        self._costs: dict[str, int] | None = None
        accuracy = DetectionMetrics if self.task.kind == "detection" else lambda: ClassificationMetrics(self.task)
        self.val_metrics: Metric = accuracy()
        self.test_metrics: Metric = accuracy()
        self.test_cost = VideoCost()
        self.test_seconds = MeanMetric()

    # What a method gives.

    def forward(self, batch: Batch) -> Output:
        """Predicts for a batch whose frames are float32, normalised by the clip spec's mean and std."""
        raise NotImplementedError

    def components(self) -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
        """The costed parts: name to module and example inputs for one run of it.

        ``Output.usage`` says how often each ran. By default the whole model is one part that runs once a row.
        """
        return {"model": (_Forward(self), (self.example_batch()["inputs"],))}

    def published(self) -> dict[str, float]:
        """Published figures of this very network, for comparison: ``parameters``, ``gmacs``, ``top1`` … by name."""
        return {}

    def stages(self) -> Sequence[Stage]:
        """The stages of training in order; empty: one stage, all parameters, :attr:`optim`."""
        return ()

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """The task's loss plus the model's own loss terms, a scalar."""
        losses = list(output.losses.values())
        if output.logits is not None:
            if self.task.kind == "multi_label":
                losses.append(F.binary_cross_entropy_with_logits(output.logits, batch["target"]))
            else:
                losses.append(F.cross_entropy(output.logits, batch["target"], label_smoothing=self.label_smoothing))
        if not losses:
            raise NotImplementedError(f"{type(self).__name__} returned neither logits nor losses in training")
        return torch.stack(losses).sum()

    # Cost.

    def example_batch(self, batch_size: int = 1) -> Batch:
        """A batch of zeros in the form that :meth:`forward` gets, on the model's device."""
        spec = self.clip_spec
        inputs: dict[str, Tensor] = {}
        if "rgb" in spec.modalities:
            inputs["rgb"] = torch.zeros(batch_size, 3, spec.num_frames, spec.size, spec.size, device=self.device)
        if "audio" in spec.modalities:
            samples = round(spec.audio_rate * spec.audio_seconds)
            inputs["audio"] = torch.zeros(batch_size, spec.segments, samples, device=self.device)
        return Batch(inputs=inputs, ids=[str(row) for row in range(batch_size)])

    def costs(self) -> dict[str, int]:
        """Multiply-accumulates of one run of each component, counted once and kept.

        Raises:
            UncountedOpError: A component holds an operation that nobody knows how to count.
        """
        if self._costs is None:
            self._costs = {name: count_macs(part, inputs).total for name, (part, inputs) in self.components().items()}
        return self._costs

    # Training.

    def setup(self, stage: str) -> None:
        """Loads :attr:`weights` at the start of a training."""
        if stage == "fit" and self.weights is not None:
            self.load_weights(self.weights)

    def load_weights(self, path: str | Path) -> list[str]:
        """Loads a checkpoint or safetensors file; only a classifier for another number of classes is passed over.

        Returns:
            Names of the parameters that were passed over, which are as initialised.

        Raises:
            UserError: The file is unreadable, or belongs to another network.
        """
        theirs, ours = read_weights(path), self.state_dict()
        other = {
            name
            for name in theirs.keys() & ours.keys()
            if theirs[name].shape != ours[name].shape
            and theirs[name].shape[1:] == ours[name].shape[1:]
            and len(ours[name]) == self.task.num_classes
        }
        wrong = [
            f"{name} is {list(theirs[name].shape)}, not {list(ours[name].shape)}"
            for name in sorted(theirs.keys() & ours.keys() - other)
            if theirs[name].shape != ours[name].shape
        ]
        wrong += [f"{name} is missing" for name in sorted(ours.keys() - theirs.keys())]
        wrong += [f"{name} is unknown" for name in sorted(theirs.keys() - ours.keys())]
        if wrong:
            more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            raise UserError(f"{path} does not fit this {type(self).__name__}: {'; '.join(wrong[:5])}{more}")
        self.load_state_dict({name: value for name, value in theirs.items() if name not in other}, strict=False)
        kept = f"; as initialised, for {self.task.num_classes} classes: {', '.join(sorted(other))}" if other else ""
        rank_zero_info(f"weights from {path}{kept}")
        return sorted(other)

    def on_fit_start(self) -> None:
        """Says what is about to train."""
        million, spec = sum(parameter.numel() for parameter in self.parameters()) / 1e6, self.clip_spec
        rank_zero_info(
            f"{type(self).__name__}: {million:.2f} M parameters, "
            f"{sum(self.costs().values()) / 1e9:.4g} GMACs a clip of {spec.num_frames} × {spec.size}², "
            f"{self.task.num_classes} classes"
        )

    def configure_callbacks(self) -> list[Callback]:
        """The moving average of the weights, where :attr:`optim` asks for it."""
        return [EMAWeightAveraging(decay=self.optim.ema)] if self.optim.ema else []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser of the stage that training is in, stepped by its schedule every step."""
        stages = self.stages()
        steps = int(self.trainer.estimated_stepping_batches)
        optim = self.optim
        if stages:
            stage, epochs = stages[self._stage], self.trainer.max_epochs or 1
            before = sum(earlier.epochs for earlier in stages[: self._stage])
            length = epochs - before if self._stage == len(stages) - 1 else stage.epochs
            steps, optim = max(1, steps * length // epochs), stage.optim
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(any(fnmatch.fnmatch(name, pattern) for pattern in stage.trains))
        optimizer, schedule = optim.build(self.parameters(), steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Enters the next stage when the last one's epochs are over."""
        stages = self.stages()
        if not stages:
            return
        ends = list(itertools.accumulate(stage.epochs for stage in stages))
        index = sum(end <= self.current_epoch for end in ends[:-1])
        if index != self._stage:
            self._stage = index
            self.trainer.strategy.setup_optimizers(self.trainer)
            rank_zero_info(f"stage {index + 1} of {len(stages)}: {stages[index].name}")
        self.train()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes the stage, so that a training resumes in the middle of it."""
        checkpoint["stage"] = self._stage

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Returns to the stage of the checkpoint, before Lightning asks for its optimiser."""
        self._stage = checkpoint.get("stage", 0)

    def train(self, mode: bool = True) -> VideoModule:
        """Training mode, but for what is frozen: that keeps its batch statistics."""
        super().train(mode)
        for module in self.modules():
            parameters = list(module.parameters())
            if mode and parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    # Steps.

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """uint8 frames become float32, normalised, on the device."""
        return self.normalised(batch)

    def normalised(self, batch: Batch) -> Batch:
        """The batch with frames as :meth:`forward` wants them; what is float already is left alone."""
        rgb = batch["inputs"].get("rgb")
        if rgb is None or rgb.dtype != torch.uint8:
            return batch
        mean = torch.tensor(self.clip_spec.mean, device=rgb.device).reshape(3, 1, 1, 1)
        std = torch.tensor(self.clip_spec.std, device=rgb.device).reshape(3, 1, 1, 1)
        batch["inputs"]["rgb"] = (rgb.float() / 255 - mean) / std
        return batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch, logged with its terms."""
        output = self(batch)
        loss = self.loss(output, batch)
        rows = len(batch["ids"])
        for name, term in output.losses.items():
            self.log(f"train/{name}", term, batch_size=rows)
        self.log("train/loss", loss, prog_bar=True, batch_size=rows)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collects one batch for the validation metrics."""
        if batch["ids"]:
            output = self(batch)
            self._judge(self.val_metrics, output, batch)
            if output.logits is not None:
                self.log("val/loss", self.loss(output, batch), batch_size=len(batch["ids"]), sync_dist=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collects one batch for the test metrics, with its cost and time."""
        if batch["ids"]:
            with self._timed() as seconds:
                output = self(batch)
            videos = len(set(batch["ids"]))
            self.test_seconds.update(seconds[0] / videos, weight=videos)
            self.test_cost.update(batch["ids"], output.usage, self.costs(), view=view_numbers(batch["ids"]))
            self._judge(self.test_metrics, output, batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics of all processes."""
        self._log_metrics("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Logs accuracy, GMACs and milliseconds a video, and peak memory in MB."""
        self._log_metrics("test", self.test_metrics)
        cost = self.test_cost.compute()
        self.log("test/gmacs", cost["gmacs"].float())
        self.log("test/ms", 1000 * self.test_seconds.compute())
        self.log("test/peak_memory_mb", peak_memory_mb(self.device))
        self.test_cost.reset()
        self.test_seconds.reset()

    def _log_metrics(self, split: str, metrics: Metric) -> None:
        if metrics.update_called:
            for name, value in metrics.compute().items():
                self.log(f"{split}/{name}", value, prog_bar=True)
        metrics.reset()

    def _judge(self, metrics: Metric, output: Output, batch: Batch) -> None:
        if output.detections is not None:
            metrics.update(output.detections, batch["target"], batch["inputs"]["rgb"].shape[2])
        else:
            metrics.update(output.logits, batch["target"], batch["ids"])

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Any]]:
        """Predicts for a batch; the scores of a video's views are averaged.

        Returns:
            One row a video: ``path``, ``top`` (classes and scores, or ``detections``), ``gmacs``, ``ms``, ``trace``;
            or ``path`` and ``error`` for what could not be read.
        """
        rows: list[dict[str, Any]] = [{"path": path, "error": error} for path, error in batch.get("errors", {}).items()]
        ids = batch["ids"]
        if not ids:
            return rows
        with self._timed() as seconds:
            output = self(batch)
        macs = macs_per_row(output.usage, self.costs(), len(ids))
        for video in dict.fromkeys(ids):
            of_video = [row for row, video_id in enumerate(ids) if video_id == video]
            row: dict[str, Any] = {"path": video}
            if output.logits is not None:
                scores = scores_of(output.logits[of_video], self.task).mean(0)
                best = scores.topk(min(TOP, self.task.num_classes))
                row["top"] = [
                    {"class": self.task.classes[index], "score": round(score, 4)}
                    for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
                ]
            if output.detections is not None:
                row["detections"] = [
                    {"frame": frame, "class": self.task.classes[label], "score": round(score, 4), "box": box}
                    for frame, label, score, box in zip(
                        *(
                            output.detections[of_video[0]][key].tolist()
                            for key in ("frames", "labels", "scores", "boxes")
                        ),
                        strict=True,
                    )
                ]
            row["gmacs"] = round(float(macs[of_video].sum()) / 1e9, 9)
            row["ms"] = round(1000 * seconds[0] * len(of_video) / len(ids), 3)
            row["trace"] = {name: value[of_video[0]] for name, value in output.trace.items()}
            rows.append(row)
        return rows

    @contextmanager
    def _timed(self) -> Iterator[list[float]]:
        """Seconds that the block took, kernels included."""
        seconds: list[float] = []
        _synchronise(self.device)
        start = time.perf_counter()
        yield seconds
        _synchronise(self.device)
        seconds.append(time.perf_counter() - start)


def view_numbers(ids: Sequence[str]) -> Tensor:
    """(B,) int64: which view of its video each row is, from 0; all views of a video are rows of one batch."""
    seen: Counter[str] = Counter()
    numbers = []
    for video_id in ids:
        numbers.append(seen[video_id])
        seen[video_id] += 1
    return torch.tensor(numbers)


class _Forward(nn.Module):
    """The whole model as a function of its input tensors, for costing."""

    def __init__(self, module: VideoModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: dict[str, Tensor]) -> Any:
        output = self.module.forward(Batch(inputs=inputs, ids=["0"]))
        return output.logits if output.logits is not None else output.detections


def _replaced(spec: ClipSpec, changes: Mapping[str, Any]) -> ClipSpec:
    known = [field.name for field in fields(ClipSpec)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise UserError(f"clip has no field {', '.join(unknown)}; it has {', '.join(known)}")
    if "stride" in changes:
        changes = {"fps": None, **changes}
    if "size" in changes and "short_side" not in changes and spec.short_side:
        # Keep the margin that the method leaves around the crop.
        changes = {**changes, "short_side": round(changes["size"] * spec.short_side / spec.size)}
    try:
        return replace(spec, **changes)
    except (TypeError, ValueError) as error:
        raise UserError(f"clip: {error}") from error


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of the process so far: of the accelerator's allocator, or else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return float("nan")
    import resource

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (2**20 if sys.platform == "darwin" else 2**10)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
