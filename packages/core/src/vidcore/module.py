"""The LightningModule that every method derives from."""

from __future__ import annotations

import copy
import fnmatch
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jsonargparse import set_parsing_settings
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, WeightAveraging
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric
from typing_extensions import Self

from vidcore.batch import Batch, Output
from vidcore.clip import ClipFields, ClipSpec, replaced
from vidcore.datamodule import VideoDataModule
from vidcore.errors import UserError, naming
from vidcore.flops import VideoCost, count_macs, macs_per_row, parameters
from vidcore.flops.measure import peak_memory_mb, timed
from vidcore.hparams import make_plain, require_harmless
from vidcore.metrics import ClassificationMetrics, DetectionMetrics
from vidcore.prediction import video_rows, view_numbers
from vidcore.ranges import check_ranges, class_ranges
from vidcore.redaction import redacted
from vidcore.seeds import mixed, run_seed, seed_process
from vidcore.task import Task
from vidcore.training.checkpoint_io import AtomicCheckpointIO
from vidcore.training.optim import Optim, Stage, check_resumed
from vidcore.video.flow import FlowSource
from vidcore.video.normalise import normalised
from vidcore.weights import Weights, other_classifier, read_weights
from vidcore.weights.checkpoint import class_in

# One value to jsonargparse, not a group of options: the command line never spells a task out.
set_parsing_settings(subclasses_enabled=[Task])


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
        weights: What to start training from: a name of :meth:`published_weights`, or a checkpoint or safetensors file;
            a classifier for another number of classes is left as initialised.

    Raises:
        OptionError: A value outside its range.
        UserError: ``clip`` has an unknown field.
    """

    RANGES: ClassVar[dict[str, str]] = {"label_smoothing": "[0, 1)"}
    """Interval of each numeric option, see :func:`vidcore.ranges.check_ranges`; a method adds those of its own."""

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
        self.seed = run_seed()
        """Of everything that is drawn in training; a checkpoint brings its own."""
        self.first_epoch = 0
        """The epoch that training goes on with."""
        self.flow_source: Mapping[str, Any] = {}
        """Fields of the :class:`~vidcore.video.flow.FlowSource` of the training that a checkpoint comes from."""
        self.first_batch = 0
        """The batch of that epoch that training goes on with."""
        self._stage = 0
        self._epoch_batches: float | None = None
        self._unreadable = 0
        self._costs: dict[str, int] | None = None
        accuracy = DetectionMetrics if self.task.kind == "detection" else lambda: ClassificationMetrics(self.task)
        self.val_metrics: Metric = accuracy()
        self.val_loss = MeanMetric(nan_strategy=float("nan"))  # a loss of NaN is to be seen
        self.test_metrics: Metric = accuracy()
        self.test_cost = VideoCost()
        self.test_seconds = MeanMetric()

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = None, strict: bool | None = None, **kwargs: Any
    ) -> Self:
        """Load a model from a checkpoint; no code in the file is run, and none is imported for it.

        Args:
            checkpoint_path: A local file.
            map_location: Where its tensors go, see :func:`torch.load`.
            strict: Whether the names of its parameters must be the model's.
            **kwargs: Hyperparameters that take the place of the checkpoint's.

        Raises:
            UserError: See :func:`vidcore.weights.checkpoint.class_in`.
        """
        found = class_in(checkpoint_path, "hyper_parameters", cls)
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

    def runs(self) -> dict[str, int]:
        """How often each of :meth:`components` runs for a clip of which nothing is skipped; one not named, once."""
        return {}

    def published(self) -> dict[str, float]:
        """Published figures of this very network, for comparison: ``parameters``, ``gmacs``, ``top1`` … by name.

        Overridden where there are figures; empty unless :meth:`is_reference` and all options that change the network or
        what it computes are those that the figures were published for.
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
        """A copy in eval mode around another network, which takes the place of ``net`` and streams if that did."""
        module = copy.copy(self)
        module._modules = {**self._modules, "net": net}
        for name in {"init_state", "step"} & set(vars(self)):
            setattr(module, name, getattr(net, name))
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
        return sum(self.runs().get(name, 1) * cost for name, cost in self.costs().items())

    # Training.

    def setup(self, stage: str) -> None:
        """Loads :attr:`weights` at the start of a training."""
        if stage != "fit":
            return
        self.seed, self.first_epoch, self.first_batch = run_seed(), 0, 0
        self._freeze()
        strategy = self.trainer.strategy
        if type(strategy.checkpoint_io) is TorchCheckpointIO:
            strategy.checkpoint_io = AtomicCheckpointIO()
        if self.weights is not None:
            self.load_weights(self.weights)

    def load_weights(self, source: str | Path) -> list[str]:
        """Loads weights; only a classifier for another number of classes is passed over.

        Args:
            source: A name of :meth:`published_weights`, or a file that :meth:`read_weights` reads.

        Returns:
            Names of the parameters that were passed over, which are as initialised.

        Raises:
            UserError: There is no such file, it is unreadable, cannot be downloaded, or belongs to another network.
        """
        published = self.published_weights()
        if str(source) not in published and not Path(source).is_file():
            known = f"published for this network: {', '.join(published)}" if published else "none were published"
            raise UserError(f"no weights at {source}; {known}")
        path = published[str(source)].fetch() if str(source) in published else source
        message = f"{source} does not fit this {type(self).__name__}"
        with naming(source, "cannot load weights from {}"):
            theirs = self.read_weights(path)
            other = other_classifier(theirs, self.state_dict(), self.task.num_classes, message)
            self.load_state_dict({name: value for name, value in theirs.items() if name not in other}, strict=False)
        kept = f"; as initialised, for {self.task.num_classes} classes: {', '.join(sorted(other))}" if other else ""
        rank_zero_info(f"weights from {source}{kept}")
        return sorted(other)

    def on_fit_start(self) -> None:
        """Log what is about to train.

        Raises:
            UserError: A training is to be resumed in the middle of an epoch that had another number of batches.
        """
        batches, before = self.trainer.num_training_batches, self._epoch_batches
        if before not in (None, batches):
            raise UserError(
                f"the checkpoint is from the middle of an epoch of {before} batches, which now has {batches}: "
                "resume with the same data and batch size, or from the end of an epoch"
            )
        million, spec = self.num_parameters() / 1e6, self.clip_spec
        rank_zero_info(
            f"{type(self).__name__}: {million:.2f} M parameters, "
            f"{self.macs_per_clip() / 1e9:.4g} GMACs a clip of {spec.num_frames} × {spec.size}², "
            f"{self.task.num_classes} classes"
        )

    def configure_callbacks(self) -> list[Callback]:
        """The moving average of the weights, where :attr:`optim` asks for it."""
        return [EMAWeightAveraging(decay=self.optim.ema)] if self.optim.ema else []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser of the stage that training is in, stepped by its schedule every step."""
        trainer, stages, optim = self.trainer, self.stages(), self.optim
        if trainer.train_dataloader is None:
            trainer.fit_loop.setup_data()
        total = trainer.estimated_stepping_batches
        epoch = max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
        steps = None if total == math.inf else int(total)
        in_epochs = steps in (None, epoch * (trainer.max_epochs or 1))  # or max_steps ends the training
        if stages:
            optim, before = stages[self._stage].optim, sum(stage.epochs for stage in stages[: self._stage])
            if self._stage < len(stages) - 1:
                steps, in_epochs = stages[self._stage].epochs * epoch, True
            elif steps is not None:
                steps -= before * epoch
            steps = None if steps is None else max(1, steps)
        optimizer, schedule = optim.build(self.parameters(), steps, epoch if in_epochs else None)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Enters the stage of the epoch; a training that goes on may begin with one that the checkpoint is not in."""
        self._follow_stages()

    def on_train_epoch_start(self) -> None:
        """Enters the next stage when the last one's epochs are over."""
        self._follow_stages()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds what the model draws, so that a training that goes on from a checkpoint draws what it would have."""
        seed_process(mixed(self.seed, self.current_epoch, batch_idx, self.global_rank), self.device)
        self._unreadable += len(batch.get("errors", ()))

    def on_train_epoch_end(self) -> None:
        """Log how many samples of all processes were replaced as they could not be read; stop a diverged training."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, VideoDataModule):
            data.share_unreadable()
        self.log("train/unreadable", float(self._unreadable), reduce_fx="sum", sync_dist=True)
        self._unreadable = 0
        if self.trainer.strategy.reduce_boolean_decision(not weights_finite(self), all=False):
            rank_zero_warn(f"weights are NaN or infinite after epoch {self.current_epoch + 1}: training stops")
            self.trainer.should_stop = True

    def _follow_stages(self) -> None:
        stages = self.stages()
        ends = list(itertools.accumulate(stage.epochs for stage in stages))
        index = sum(end <= self.current_epoch for end in ends[:-1])
        if stages and index != self._stage:
            self._stage = index
            self._freeze()
            strategy = self.trainer.strategy
            if isinstance(strategy, DDPStrategy):  # it exchanges gradients of what was trainable when it was set up
                strategy.model = self
                strategy.configure_ddp()
            strategy.setup_optimizers(self.trainer)
            rank_zero_info(f"stage {index + 1} of {len(stages)}: {stages[index].name}")
        self.train()  # what is frozen, by a stage or by the model itself, keeps its batch statistics

    def _freeze(self) -> None:
        """Leaves trainable what the stage trains."""
        if stages := self.stages():
            for name, parameter in self.named_parameters():
                trains = stages[self._stage].trains
                parameter.requires_grad_(any(fnmatch.fnmatch(name, pattern) for pattern in trains))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the stages up to the present one and the seed, so that a training resumes in the middle of a stage."""
        checkpoint["stage"], checkpoint["seed"] = self._stage, self.seed
        checkpoint["stages"] = self._trained()[: self._stage + 1]
        checkpoint["epoch_batches"] = self._trainer.num_training_batches if self._trainer is not None else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Return to the stage and the seed of the checkpoint, before Lightning asks for the optimiser and the data.

        Raises:
            UserError: A training is to be resumed with options that its optimiser's state does not fit, or with a
                length that it has exceeded.
        """
        require_harmless(checkpoint, "the checkpoint")
        if self._trainer is not None:
            keeps = [each for each in self.trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
            _forget_elsewhere(checkpoint, {str(each.dirpath) for each in keeps})
        ours = self.state_dict()
        for name, value in checkpoint.get("state_dict", {}).items():
            if isinstance(value, Tensor) and name in ours and not torch.can_cast(value.dtype, ours[name].dtype):
                raise UserError(f"{name} is {value.dtype}, not {ours[name].dtype}")
        self._stage, self.seed = checkpoint.get("stage", 0), checkpoint.get("seed", self.seed)
        self.flow_source = checkpoint.get("datamodule_hyper_parameters", {}).get("flow", {})
        FlowSource.of(self.flow_source)
        if "loops" in checkpoint:
            try:
                loop = checkpoint["loops"]["fit_loop"]
                epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
                self.first_epoch = int(epochs["processed"])
                # Of an epoch that max_steps or max_time ended, the last batch was not its last.
                ended = batches["is_last_batch"] or epochs["processed"] == epochs["ready"]
                self.first_batch = 0 if ended else int(batches["current"]["ready"])
            except (KeyError, TypeError, ValueError) as error:
                raise UserError("loops must hold the progress of a training as Lightning saves it") from error
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._resume(checkpoint)
        self._freeze()

    def _resume(self, checkpoint: dict[str, Any]) -> None:
        trainer, epochs = self.trainer, self.first_epoch + (self.first_batch > 0)
        try:
            check_resumed(checkpoint, self._trained(), epochs, trainer.max_epochs, trainer.max_steps)
        except (KeyError, TypeError) as error:
            raise UserError("stages and global_step must be as a training saves them in its checkpoints") from error
        self._epoch_batches = checkpoint.get("epoch_batches") if self.first_batch else None
        averaging = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if "current_model_state" in checkpoint and not averaging:  # state_dict holds the average
            checkpoint["state_dict"] = checkpoint["current_model_state"]

    def _trained(self) -> list[dict[str, Any]]:
        """What a resumed training must have in common with the one before, of each stage."""
        return [
            {
                "name": stage.name,
                "epochs": stage.epochs,
                "trains": list(stage.trains),
                "optimizer": stage.optim.name,
                "decay_all": stage.optim.decay_all,
            }
            for stage in self.stages() or [Stage("", 0, self.optim)]
        ]

    def train(self, mode: bool = True) -> VideoModule:
        """Training mode, but for what is frozen: that keeps its batch statistics."""
        super().train(mode)
        for module in self.modules():
            owned = list(module.parameters())
            if mode and owned and not any(parameter.requires_grad for parameter in owned):
                module.eval()
        return self

    # Steps.

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """uint8 frames become float32, normalised, and sound a spectrogram where one is wanted, on the device."""
        return self.normalised(batch)

    def normalised(self, batch: Batch) -> Batch:
        """The batch with its inputs as :meth:`forward` wants them, see :mod:`vidcore.video.normalise`."""
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
        self._judge(self.val_metrics, output, batch)
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
        self.test_cost.update(batch["ids"], output.usage, self.costs(), view=view_numbers(batch["ids"]))
        self._judge(self.test_metrics, output, batch)
        return {"output": output}

    def on_validation_epoch_end(self) -> None:
        """Logs the loss and the metrics of all processes; one that got no sample takes part with none."""
        self._log_metrics("val", self.val_metrics)
        if self.task.kind != "detection":
            self.log("val/loss", self.val_loss.compute())
        self.val_loss.reset()

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
        values = metrics.compute()
        metrics.reset()
        if not values:
            raise UserError(f"not one sample of {split} could be read")
        for name, value in values.items():
            self.log(f"{split}/{name}", value, prog_bar=True)

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


def weights_finite(module: nn.Module) -> bool:
    """Return whether all parameters are finite; those of a diverged training are NaN or infinite."""
    return all(bool(parameter.isfinite().all()) for parameter in module.parameters())


def _forget_elsewhere(checkpoint: Mapping[str, Any], folders: set[str]) -> None:
    """Drop the earlier checkpoints that a checkpoint lists and that are in none of the run's folders.

    Lightning removes the files in the list when better ones come, wherever they are.
    """

    def here(path: str) -> str:
        return path if os.path.dirname(path) in folders and ".." not in Path(path).parts else ""  # noqa: PTH120 - URLs

    for state in checkpoint.get("callbacks", {}).values():
        if isinstance(state, dict) and "best_model_path" in state:
            for name in ("best_model_path", "last_model_path", "kth_best_model_path"):
                state[name] = here(str(state.get(name, "")))
            best = state.get("best_k_models", {})
            state["best_k_models"] = {path: score for path, score in best.items() if here(str(path))}


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
