"""LightningCLI with our parser, our links between model and data, and our defaults."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningCLI, SaveConfigCallback

from vidcore.checkpoint import config_of, read_checkpoint, task_of
from vidcore.cli import names
from vidcore.cli.parser import VidParser
from vidcore.cli.train import trainer_defaults
from vidcore.datamodule import VideoDataModule
from vidcore.errors import UserError
from vidcore.metrics import MAIN_METRIC
from vidcore.module import VideoModule


def run(command: str, argv: list[str], chosen: dict[str, str]) -> None:
    """Runs ``fit``, ``validate`` or ``test`` with these arguments; the recipe for the pair lies below all of them."""
    recipe = names.recipe(chosen)
    parser_kwargs: dict[str, Any] = {"default_env": True, "env_prefix": "VID", "prog": "vid"}
    parser_kwargs[command] = {"default_config_files": [str(recipe)] if recipe else [], "default_env": True}
    VidCLI(
        VideoModule,
        VideoDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        parser_class=VidParser,
        parser_kwargs=parser_kwargs,
        save_config_callback=SaveConfig,
        save_config_kwargs={"save_to_log_dir": False},
        trainer_defaults=trainer_defaults(chosen),
        args=[command, *argv],
    )


def checkpoint_config(path: str, keep_data: bool) -> dict[str, Any]:
    """The config parts that a checkpoint brings: its model, and its data unless another was chosen."""
    config = config_of(read_checkpoint(path))
    return {key: value for key, value in config.items() if key == "model" or keep_data}


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the run's own folder, whatever the logger, so that no two runs clash."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called by Lightning on rank zero."""
        logger = trainer.logger
        if logger is None or logger.save_dir is None:
            return
        folder = Path(logger.log_dir or Path(logger.save_dir) / str(logger.name) / str(logger.version))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(self.parser.dump(self.config, skip_none=False))


class VidCLI(LightningCLI):
    """Hands the data's task to the model, and keeps the best checkpoint by the task's own metric."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Those that run a trainer; ``vid`` has the rest elsewhere."""
        skipped = {"model", "train_dataloaders", "val_dataloaders", "dataloaders", "datamodule"}
        return dict.fromkeys(("fit", "validate", "test"), skipped)

    def add_arguments_to_parser(self, parser: VidParser) -> None:  # type: ignore[override]
        """Links the data's task to the model."""
        parser.link_arguments("data", "model.init_args.task", compute_fn=_task, apply_on="instantiate")

    def parse_arguments(self, parser: VidParser, args: Any) -> None:  # type: ignore[override]
        """Parses what :func:`run` was given, never ``sys.argv``, which processes of a distributed run start from."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Nothing: the checkpoint's config was put below the arguments, where Lightning would put it above."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds the checkpoint of the best validation metric, unless the user has their own."""
        trainer_config = self._get(self.config_init, "trainer")
        callbacks: list[Callback] = list(trainer_config.get("callbacks") or [])
        own = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
        if self.subcommand == "fit" and not own and trainer_config.get("enable_checkpointing") is not False:
            metric = f"val/{MAIN_METRIC[self.model.task.kind]}"
            best = ModelCheckpoint(monitor=metric, mode="max", filename="best", enable_version_counter=False)
            # Not save_last: that copies the best, where what resumes a training is the newest.
            last = ModelCheckpoint(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
            callbacks += [best, last]
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)

    def after_instantiate_classes(self) -> None:
        """Refuses a checkpoint whose classes are not the data's."""
        path = self._get(self.config, "ckpt_path")
        if not path or not Path(path).is_file():
            return
        known, ours = task_of(read_checkpoint(path)), self.model.task
        if known != ours:
            raise UserError(
                f"{path} knows {known.num_classes} {known.kind} classes ({_some(known.classes)}); "
                f"the data has {ours.num_classes} {ours.kind} ({_some(ours.classes)}). "
                "To train from these weights for other classes use --model.weights."
            )

    def after_fit(self) -> None:
        """Says where the best checkpoint is and what to do with it."""
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        if best and self.trainer.is_global_zero:
            score = self.trainer.checkpoint_callback.best_model_score  # type: ignore[union-attr]
            print(f"best checkpoint: {best} ({self.trainer.checkpoint_callback.monitor} {score:.4f})", file=sys.stderr)  # type: ignore[union-attr]
            print(f"next: vid test --ckpt_path {best}", file=sys.stderr)


def _task(data: VideoDataModule) -> dict[str, Any]:
    return data.task.as_dict()


def _some(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
