"""Hooks of a training: its stages, its optimisers, its random draws, and resuming it from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from typing_extensions import Self

from vidcore.batch import Batch
from vidcore.hparams import require_harmless
from vidcore.seeds import mixed, run_seed, seed_process
from vidcore.training import resume, stages
from vidcore.training.checkpoint_io import AtomicCheckpointIO
from vidcore.training.optim import Optim, Stage
from vidcore.video.flow import FlowSource


class StagedTraining(LightningModule):
    """Base class of ``vidcore.VideoModule`` with the hooks of a training in stages that can be resumed."""

    optim: Optim
    """The optimiser of a training without ``stages``."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = run_seed()
        """Seed of everything that is drawn in training; a checkpoint brings its own."""
        self.first_epoch = 0
        """Epoch with which training continues."""
        self.first_batch = 0
        """Batch of that epoch with which training continues."""
        self.flow_source: Mapping[str, Any] = {}
        """Fields of the [`FlowSource`][vidcore.video.flow.FlowSource] of the training that a checkpoint comes from."""
        self.step_in_batch = 0
        """Number of the optimiser step within the batch, see ``Stage.steps_per_batch``."""
        self._stage = 0
        self._turn: int | None = None  # None: all of the stage's turns
        self._epoch_batches: float | None = None
        self._unreadable = 0

    def stages(self) -> Sequence[Stage]:
        """Return the stages of training in order; empty: one stage, all parameters, ``optim``."""
        return ()

    def setup(self, stage: str) -> None:
        """Freeze what the first stage does not train, and write checkpoints atomically."""
        if stage != "fit":
            return
        self.seed, self.first_epoch, self.first_batch = run_seed(), 0, 0
        self._turn = None
        self._freeze()
        strategy = self.trainer.strategy
        if type(strategy.checkpoint_io) is TorchCheckpointIO:
            strategy.checkpoint_io = AtomicCheckpointIO()

    def on_fit_start(self) -> None:
        """Check the length of an epoch that is resumed in the middle.

        Raises:
            UserError: The epoch had another number of batches.
        """
        resume.check_batches(self._epoch_batches, self.trainer.num_training_batches)

    def configure_callbacks(self) -> list[Callback]:
        """The moving average of the weights, where ``optim`` asks for it."""
        return [EMAWeightAveraging(decay=self.optim.ema)] if self.optim.ema else []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser of the stage that training is in, stepped by its schedule every step."""
        steps, epoch = stages.steps_of(self.trainer, self.stages(), self._stage)
        optimizer, schedule = self._current().build(self.named_parameters(), steps, epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Enters the stage of the epoch; a training that goes on may begin with one that the checkpoint is not in."""
        self._follow_stages()

    def on_train_epoch_start(self) -> None:
        """Enters the next stage when the last one's epochs are over."""
        self._follow_stages()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what the model draws, so that a resumed training draws the same; enter the next turn after the last."""
        if self._current().turn_steps:
            self._take_turn()
        seed_process(mixed(self.seed, self.current_epoch, batch_idx, self.global_rank), self.device)
        self._unreadable += len(batch.get("errors", ()))

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Make the optimiser steps of one batch, see ``Stage.steps_per_batch``."""
        for step in range(self._current().steps_per_batch):
            self.step_in_batch = step
            if step:
                optimizer.zero_grad()
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.step_in_batch = 0

    def on_train_epoch_end(self) -> None:
        """Log how many samples of all processes were replaced as they could not be read; stop a diverged training."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "share_unreadable"):
            data.share_unreadable()
        self.log("train/unreadable", float(self._unreadable), reduce_fx="sum", sync_dist=True)
        self._unreadable = 0
        if self.trainer.strategy.reduce_boolean_decision(not weights_finite(self), all=False):
            rank_zero_warn(f"weights are NaN or infinite after epoch {self.current_epoch + 1}: training stops")
            self.trainer.should_stop = True

    def _follow_stages(self) -> None:
        """Enter the stage of the epoch."""
        all_stages = self.stages()
        index = stages.stage_at(all_stages, self.current_epoch)
        if index != self._stage:
            self._stage, self._turn = index, None
            self._freeze()
            stages.rewrap(self.trainer, self)
            self.trainer.strategy.setup_optimizers(self.trainer)
            rank_zero_info(f"stage {index + 1} of {len(all_stages)}: {all_stages[index].name}")
        self._take_turn()
        self.train()  # what is frozen, by a stage or by the model itself, keeps its batch statistics

    def _take_turn(self) -> None:
        """Enter the turn of the epoch or the step, if the stage has turns."""
        stage = self._current()
        if not stage.turns:
            return
        steps = self.trainer.lr_scheduler_configs[0].scheduler.last_epoch if stage.turn_steps else 0
        turn = stages.turn_at(self._all_stages(), self._stage, self.current_epoch, steps)
        if turn != self._turn:
            self._turn = turn
            self._freeze()
            stages.rewrap(self.trainer, self)
            self.train()

    def _freeze(self) -> None:
        """Leave trainable what the turn trains, or what all turns of the stage train."""
        if self.stages():
            parts = self._current().parts
            turns = parts if self._turn is None else [parts[self._turn]]
            stages.freeze(self, [pattern for turn in turns for pattern in turn.trains])

    def _all_stages(self) -> Sequence[Stage]:
        """Return the stages of training, of which there is at least one."""
        return self.stages() or [Stage("", 0, self.optim)]

    def _current(self) -> Stage:
        """Return the stage that training is in."""
        return self._all_stages()[self._stage]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the stages up to the present one and the seed, so that a training resumes in the middle of a stage."""
        checkpoint["stage"], checkpoint["seed"] = self._stage, self.seed
        checkpoint["stages"] = resume.recorded(self._all_stages())[: self._stage + 1]
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
            resume.forget_elsewhere(checkpoint, {str(each.dirpath) for each in keeps})
        resume.check_types(checkpoint, self.state_dict())
        self._stage, self.seed = checkpoint.get("stage", 0), checkpoint.get("seed", self.seed)
        self.flow_source = checkpoint.get("datamodule_hyper_parameters", {}).get("flow", {})
        FlowSource.of(self.flow_source)
        if "loops" in checkpoint:
            self.first_epoch, self.first_batch = resume.position(checkpoint)
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            begun = self.first_epoch + (self.first_batch > 0)
            resume.resume(checkpoint, resume.recorded(self._all_stages()), begun, self.trainer)
            self._epoch_batches = checkpoint.get("epoch_batches") if self.first_batch else None
        self._freeze()

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for what is frozen: that keeps its batch statistics."""
        super().train(mode)
        if mode:
            stages.eval_frozen(self)
        return self


def weights_finite(module: nn.Module) -> bool:
    """Return whether all parameters are finite; those of a diverged training are NaN or infinite."""
    return all(bool(parameter.isfinite().all()) for parameter in module.parameters())
