"""The LightningModule that every method derives from."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jsonargparse import set_parsing_settings
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric
from typing_extensions import Self

from vidcore.batch import Batch, Output
from vidcore.clip import ClipFields, ClipSpec, replaced
from vidcore.distributed import gathered
from vidcore.errors import naming
from vidcore.flops import VideoCost, count_macs, macs_per_row, parameters
from vidcore.flops.measure import peak_memory_mb, timed
from vidcore.hparams import make_plain
from vidcore.metrics import ClassificationMetrics, DetectionMetrics
from vidcore.prediction import video_rows, view_numbers
from vidcore.ranges import check_ranges, class_ranges
from vidcore.redaction import redacted
from vidcore.task import Task
from vidcore.training import evaluation
from vidcore.training.hooks import StagedTraining
from vidcore.training.optim import Optim, Stage
from vidcore.video.normalise import normalised
from vidcore.weights import Weights, read_weights
from vidcore.weights.checkpoint import class_in, read_checkpoint
from vidcore.weights.start import start_weights

# One value to jsonargparse, not a group of options: the command line never spells a task out.
set_parsing_settings(subclasses_enabled=[Task])


class VideoModule(StagedTraining):
    """What every method derives from: it gives a network, a clip spec and ``forward``, and has the rest from here.

    A method's ``__init__`` calls ``super().__init__(task, clip_spec, **kwargs)`` first and builds its network after;
    [`components`][vidcore.module.VideoModule.components], [`stages`][vidcore.module.VideoModule.stages] and
    [`training_step`][vidcore.module.VideoModule.training_step] are there to be overridden where the method needs it.

    Args:
        task: What is predicted; the command line passes the data's.
        clip_spec: What the method wants to be fed.
        clip: Fields of the clip spec to replace, e.g. ``{"frames": 8, "size": 112}``.
        optim: The optimiser and its schedule.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1); single_label only.
        weights: What to start training from: a name of
            [`published_weights`][vidcore.module.VideoModule.published_weights], or a checkpoint or safetensors file; a
            classifier for another number of classes is left as initialised.

    Raises:
        OptionError: A value outside its range.
        UserError: ``clip`` has an unknown field.
    """

    RANGES: ClassVar[dict[str, str]] = {"label_smoothing": "[0, 1)"}
    """Interval of each numeric option, see ``vidcore.ranges.check_ranges``; a method adds those of its own."""

    streams_with: ClassVar[str] = ""
    """Options with which a model of this class streams, for the error of one that does not; empty: there are none."""

    reference_task: Task = Task.numbered(400)
    """The task that the method's published figures are for; ``vid flops`` uses it where no classes are named."""

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
        make_plain(self, "vidcore.models")
        check_ranges(self.hparams, class_ranges(type(self)))
        self.task = Task.of(task)
        self.clip_spec, self._reference_clip = replaced(clip_spec, clip or {}), clip_spec
        self.optim = Optim.of(optim)
        self.label_smoothing = label_smoothing
        self.weights = weights
        self._costs: dict[str, int] | None = None
        accuracy = DetectionMetrics if self.task.kind == "detection" else lambda: ClassificationMetrics(self.task)
        self.val_metrics: Metric = accuracy()
        self.val_loss = MeanMetric(nan_strategy=float("nan"))  # a loss of NaN is to be seen
        self.test_metrics: Metric = accuracy()
        self.test_cost = VideoCost()
        self._decided: dict[str, tuple[int, int]] = {}
        self.test_seconds = MeanMetric()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "runs" in vars(cls):
            raise TypeError(f"{cls.__qualname__} defines runs(), which is now called calls_per_clip(): rename it")

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = None, strict: bool | None = None, **kwargs: Any
    ) -> Self:
        """Load a model from a checkpoint; no code in the file is run, and none is imported for it.

        Args:
            checkpoint_path: A local file.
            map_location: Where its tensors go, see ``torch.load``.
            strict: Whether the names of its parameters must be the model's.
            **kwargs: Hyperparameters that take the place of the checkpoint's.

        Raises:
            UserError: See [`vidcore.weights.checkpoint.read_checkpoint`][] and `class_in` there.
        """
        found = class_in(read_checkpoint(checkpoint_path), checkpoint_path, "hyper_parameters", cls)
        kwargs |= {"map_location": map_location, "strict": strict, "weights_only": True}
        with naming(checkpoint_path):
            return super(VideoModule, found).load_from_checkpoint(checkpoint_path, **kwargs)

    # What a method gives.

    def forward(self, batch: Batch) -> Output:
        """Predicts for a batch whose frames are float32, normalised by the clip spec's mean and std."""
        raise NotImplementedError

    def components(self) -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
        """The costed parts: name to module and example inputs for one run of it.

        ``Output.usage`` says how often each ran. By default the whole model is one part that runs once a row.
        """
        return {"model": (_Forward(self), (self.example_batch()["inputs"],))}

    def calls_per_clip(self) -> dict[str, int]:
        """Return the number of calls of each component per clip when nothing is skipped. Default: 1 for each."""
        return {}

    def published(self) -> dict[str, float]:
        """Published figures of this very network, for comparison: ``parameters``, ``gmacs``, ``top1`` … by name.

        Overridden where there are figures; empty unless [`is_reference`][vidcore.module.VideoModule.is_reference] and
        all options that change the network or what it computes are those that the figures were published for.
        """
        return {}

    @classmethod
    def reference(cls, **options: Any) -> Task:
        """Return the task that published figures of the model with these options are for."""
        return cls.reference_task

    def is_reference(self) -> bool:
        """Whether the clip and the number of classes are those that published figures are for."""
        classes = self.reference(**self.hparams).num_classes
        return self.clip_spec == self._reference_clip and self.task.num_classes == classes

    def num_parameters(self) -> int:
        """Parameters of the network, shared ones counted once; overridden where some serve training alone."""
        return parameters(self)

    def for_inference(self) -> Self:
        """The model as it is best run: what streams and what is exported; e.g. with normalisation in the weights."""
        return self.eval()

    def with_net(self, net: nn.Module) -> Self:
        """Return a copy in eval mode with another network instead of ``net``; it streams if this model does."""
        module = copy.copy(self)
        module._modules = {**self._modules, "net": net}
        for name in {"init_state", "step"} & set(vars(self)):
            method = getattr(self, name)
            setattr(module, name, getattr(module if method.__self__ is self else net, method.__name__))
        return module.eval()

    def published_weights(self) -> dict[str, Weights]:
        """Published weights of this very network by name, e.g. ``k600``."""
        return {}

    def read_weights(self, path: str | Path) -> dict[str, Tensor]:
        """A weights file as a state dict of this module; overridden where others' code saved something else.

        Raises:
            UserError: The file is unreadable.
        """
        return read_weights(path)

    def family(self) -> list[dict[str, Any]]:
        """The method's models in the order of their cost, for ``vid flops``: a row each, figures by name."""
        return []

    def stages(self) -> Sequence[Stage]:
        """The stages of training in order; empty: one stage, all parameters, ``optim``."""
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
        """A batch of zeros in the form that ``forward`` gets, on the model's device."""
        spec = self.clip_spec
        shapes: dict[str, tuple[int, ...]] = {
            name: (channels, spec.num_frames, spec.size, spec.size)
            for name, channels in {"rgb": 3, "rgbdiff": 3 * spec.stack, "flow": 2 * spec.stack}.items()
        }
        shapes["audio"] = (spec.segments, round(spec.audio_rate * spec.audio_seconds))
        zeros: dict[str, Tensor] = {
            name: torch.zeros(batch_size, *shapes[name], device=self.device) for name in spec.modalities
        }
        return self.normalised(Batch(inputs=zeros, ids=[str(row) for row in range(batch_size)]))

    def costs(self) -> dict[str, int]:
        """Multiply-accumulates of one run of each component, counted once and kept.

        Raises:
            UncountedOpError: A component holds an operation that nobody knows how to count.
        """
        if self._costs is None:
            self._costs = {name: count_macs(part, inputs).total for name, (part, inputs) in self.components().items()}
        return self._costs

    def macs_per_clip(self) -> int:
        """Multiply-accumulates of a clip of which nothing is skipped."""
        calls = self.calls_per_clip()
        return sum(calls.get(name, 1) * cost for name, cost in self.costs().items())

    # Training.

    def setup(self, stage: str) -> None:
        """Loads ``weights`` at the start of a training."""
        super().setup(stage)
        if stage == "fit" and self.weights is not None:
            self.load_weights(self.weights)

    def load_weights(self, source: str | Path) -> list[str]:
        """Loads weights; only a classifier for another number of classes is passed over.

        Args:
            source: A name of [`published_weights`][vidcore.module.VideoModule.published_weights], or a file that
                [`read_weights`][vidcore.module.VideoModule.read_weights] reads.

        Returns:
            Names of the parameters that were passed over, which are as initialised.

        Raises:
            UserError: There is no such file, it is unreadable, cannot be downloaded, or belongs to another network.
        """
        state, other = start_weights(
            source,
            self.published_weights(),
            self.read_weights,
            self.state_dict(),
            self.task.num_classes,
            type(self).__name__,
        )
        with naming(source, "cannot load weights from {}"):
            self.load_state_dict(state, strict=False)
        kept = f"; as initialised, for {self.task.num_classes} classes: {', '.join(other)}" if other else ""
        rank_zero_info(f"weights from {source}{kept}")
        return other

    def on_fit_start(self) -> None:
        """Log what is about to train."""
        super().on_fit_start()
        million, spec = self.num_parameters() / 1e6, self.clip_spec
        rank_zero_info(
            f"{type(self).__name__}: {million:.2f} M parameters, "
            f"{self.macs_per_clip() / 1e9:.4g} GMACs a clip of {spec.num_frames} × {spec.size}², "
            f"{self.task.num_classes} classes"
        )

    # Steps.

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """uint8 frames become float32, normalised, and sound a spectrogram where one is wanted, on the device."""
        return self.normalised(batch)

    def normalised(self, batch: Batch) -> Batch:
        """The batch with its inputs as ``forward`` wants them, see ``vidcore.video.normalise``."""
        batch["inputs"] = normalised(batch["inputs"], self.clip_spec)
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

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Output] | None:
        """Collects one batch for the validation metrics; callbacks get the model's ``output``."""
        if not batch["ids"]:
            return None
        output = self(batch)
        evaluation.update(self.val_metrics, output, batch)
        if output.logits is not None:
            self.val_loss.update(self.loss(output, batch), weight=len(batch["ids"]))
        return {"output": output}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Output] | None:
        """Collects one batch for the test metrics, with its cost and time; callbacks get the model's ``output``."""
        if not batch["ids"]:
            return None
        with timed(self.device) as seconds:
            output = self(batch)
        videos = len(set(batch["ids"]))
        self.test_seconds.update(seconds[0] / videos, weight=videos)
        for name, ran in (output.decisions or {}).items():
            runs, parts = self._decided.get(name, (0, 0))
            self._decided[name] = (runs + int(ran.sum()), parts + ran.numel())
        self.test_cost.update(batch["ids"], output.usage, self.costs(), view=view_numbers(batch["ids"]))
        evaluation.update(self.test_metrics, output, batch)
        return {"output": output}

    def on_validation_epoch_end(self) -> None:
        """Logs the loss and the metrics of all processes; one that got no sample takes part with none."""
        self.log_dict(evaluation.results(self.val_metrics, "val"), prog_bar=True)
        if self.task.kind != "detection":
            self.log("val/loss", self.val_loss.compute())
        self.val_loss.reset()

    def on_test_epoch_end(self) -> None:
        """Logs accuracy, GMACs and milliseconds a video, and peak memory in MB."""
        self.log_dict(evaluation.results(self.test_metrics, "test"), prog_bar=True)
        cost = self.test_cost.compute()
        self.log("test/gmacs", cost["gmacs"].float())
        self.log("test/ms", 1000 * self.test_seconds.compute())
        self.log("test/peak_memory_mb", peak_memory_mb(self.device))
        self.test_cost.reset()
        decided = gathered(self._decided)
        for name in sorted({name for each in decided for name in each}):
            runs, parts = (sum(each.get(name, (0, 0))[index] for each in decided) for index in (0, 1))
            self.log(f"test/share_{name}", runs / max(parts, 1))
        self._decided = {}
        self.test_seconds.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Any]]:
        """Predicts for a batch; the scores of a video's views are averaged.

        Returns:
            One row a video: ``path``, ``top`` (classes and scores, or ``detections``), ``gmacs``, ``ms``, ``trace``;
            or ``path`` and ``error`` for what could not be read.
        """
        rows: list[dict[str, Any]] = [
            {"path": redacted(path), "error": error} for path, error in batch.get("errors", {}).items()
        ]
        ids = batch["ids"]
        if not ids:
            return rows
        with timed(self.device) as seconds:
            output = self(batch)
        macs = macs_per_row(output.usage, self.costs(), len(ids))
        return rows + video_rows(output, ids, self.task, macs, seconds[0])


def load_module(path: str | Path) -> VideoModule:
    """Load the model of a checkpoint, on the CPU and in eval mode.

    Raises:
        UserError: The file is not a checkpoint of a model that is installed or imported, or the model does not accept
            its arguments or its weights.
    """
    return VideoModule.load_from_checkpoint(path, map_location="cpu").eval()


class _Forward(nn.Module):
    """The whole model as a function of its input tensors, for costing."""

    def __init__(self, module: VideoModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: dict[str, Tensor]) -> Any:
        output = self.module.forward(Batch(inputs=inputs, ids=["0"]))
        return output.logits if output.logits is not None else output.detections
