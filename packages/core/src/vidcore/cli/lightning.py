"""LightningCLI with our parser, our links between model and data, our defaults, and one folder a run."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from vidcore.classes import shown
from vidcore.cli import names, options, runs
from vidcore.cli.parser import VidParser
from vidcore.cli.train import trainer_defaults
from vidcore.datamodule import VideoDataModule
from vidcore.errors import UsageError, UserError, causes, naming
from vidcore.metrics import MAIN_METRIC
from vidcore.module import VideoModule
from vidcore.ranges import check_ranges
from vidcore.reading.workers import WorkerError, worker_error
from vidcore.redaction import redacted
from vidcore.report.callback import Report, judged_clips
from vidcore.report.loggers import logger_in, wandb_discards, wandb_ends
from vidcore.report.progress import progress
from vidcore.report.summary import versions
from vidcore.training.hooks import weights_finite
from vidcore.weights.checkpoint import config_of, read_checkpoint, task_of


def run(
    command: str,
    argv: list[str],
    chosen: dict[str, str],
    continued: Path | None = None,
    evaluated: str | None = None,
    whole: bool = True,
    saved: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> VidCLI:
    """Runs ``fit``, ``validate`` or ``test`` with these arguments; the recipe for the pair lies below all of them.

    Args:
        command: Which.
        argv: Its arguments.
        chosen: The class paths of model and data.
        continued: The folder of the run that a training goes on with; None: it is a new run.
        evaluated: The checkpoint that is evaluated, if any.
        whole: See ``vidcore.cli.train.run``.
        saved: Arguments of the data that are a checkpoint's; its folders are only read.
        quiet: See ``vidcore.cli.train.run``.

    Returns:
        The finished run.
    """
    if continued is not None:  # as is meant
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    os.environ.pop("VID_CONFIG", None)  # which the parser above the commands' would read
    recipe = names.recipe(chosen)
    parser_kwargs: dict[str, Any] = {"default_env": True, "env_prefix": "VID", "prog": "vid"}
    parser_kwargs[command] = {"default_config_files": [str(recipe)] if recipe else [], "default_env": True}
    try:
        with wandb_ends(), options.full_names(chosen, argv), _one_line():
            cli = VidCLI(
                VideoModule,
                VideoDataModule,
                chosen=chosen,
                continued=continued,
                quiet=quiet,
                task_from=functools.partial(_task, evaluated, whole, saved or {}),
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
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # which Lightning ends with status 1
            raise KeyboardInterrupt from stop
        raise
    cli.trainer.strategy.barrier()  # a launcher ends all processes when the first one ends with an error
    return cli


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn errors of Lightning and W&B about their settings into a [`UsageError`][vidcore.errors.UsageError]."""
    try:
        yield
    except MisconfigurationException as error:
        raise UsageError(" ".join(str(error).split())) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "wandb":
            raise
        text = " ".join(str(error).split())
        raise UserError(f"W&B: {text}; WANDB_MODE=offline keeps the run on this machine") from error


def checkpoint_config(path: str, keep_data: bool) -> dict[str, Any]:
    """The config parts that a checkpoint brings: its model, and its data unless another was chosen."""
    config = config_of(read_checkpoint(path))
    return {key: value for key, value in config.items() if key == "model" or keep_data}


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the run's folder, whatever the logger, and tells W&B of it.

    Of a training when it begins: a run that cannot be resumed with other options keeps the options that it had.
    """

    def __init__(self, *args: Any, folder: Path, continued: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.folder = folder
        if continued:  # the run as a whole began without a checkpoint
            self.config = self.config.clone()
            self.config.ckpt_path = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called by Lightning; waits with a training until its checkpoint is restored."""
        if stage != "fit":
            super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning."""
        super().setup(trainer, pl_module, "fit")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called by Lightning on rank zero."""
        text = redacted(self.parser.dump(self.config, skip_none=False))
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.yaml").write_text(text)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                told = {"config": yaml.safe_load(text), "versions": versions()}
                logger.experiment.config.update(told, allow_val_change=True)


class VidCLI(LightningCLI):
    """Hands the data's task to the model, and keeps all that a run writes in one folder.

    Args:
        *args: LightningCLI's.
        chosen: The class paths of model and data.
        continued: The folder of the run to go on with; None: a new one is made.
        task_from: From the data to the model's task.
        quiet: Whether nothing is printed beyond what Lightning prints.
        **kwargs: LightningCLI's.
    """

    def __init__(
        self,
        *args: Any,
        chosen: dict[str, str],
        continued: Path | None,
        task_from: Callable[[VideoDataModule], dict[str, Any]],
        quiet: bool = False,
        **kwargs: Any,
    ) -> None:
        self.chosen, self.continued, self.task_from, self.quiet = chosen, continued, task_from, quiet
        self.folder: Path | None = continued
        self._made: list[Path] = []
        self.began = Began()
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            if not self.began.done:
                self._discard()
            raise
        self._remove_empty()

    def _discard(self) -> None:
        """Remove the folder, and the W&B run, of a run that failed before its first step."""
        # The error may name unreadable_*.csv; processes that were started for the training may have got further.
        kept = ("unreadable_*.csv", "metrics.csv", "checkpoints/*")
        if self._made and not any(path for pattern in kept for path in self._made[0].glob(pattern)):
            wandb_discards()
            shutil.rmtree(self._made[0], ignore_errors=True)
        self._remove_empty()

    def _remove_empty(self) -> None:
        for folder in self._made:
            with suppress(OSError):  # raised unless it is empty
                folder.rmdir()

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Those that run a trainer; ``vid`` has the rest elsewhere."""
        skipped = {"model", "train_dataloaders", "val_dataloaders", "dataloaders", "datamodule"}
        return dict.fromkeys(("fit", "validate", "test"), skipped)

    def add_arguments_to_parser(self, parser: VidParser) -> None:  # type: ignore[override]
        """Links the data's task to the model."""
        parser.link_arguments("data", "model.init_args.task", compute_fn=self.task_from, apply_on="instantiate")

    def parse_arguments(self, parser: VidParser, args: Any) -> None:  # type: ignore[override]
        """Parses what ``run`` was given, never ``sys.argv``, which processes of a distributed run start from."""
        try:
            self.config = parser.parse_args(args)
        except UsageError:
            path = next(names.values(args, ("--ckpt_path",)), None)
            if path is not None and self.continued is None:
                with naming(path):
                    _parse_alone(args[1:3])
            raise
        seed = self.config[self.config.subcommand].seed_everything
        if not isinstance(seed, bool):
            check_ranges({"seed_everything": seed}, {"seed_everything": "[0, 4294967295]"}, "--")

    def _parse_ckpt_path(self) -> None:
        """Nothing: the checkpoint's config was put below the arguments, where Lightning would put it above."""

    def instantiate_classes(self) -> None:
        """Chooses the run's folder, in which the loggers are then built."""
        self.folder = self.continued
        if self.folder is None:
            self.folder, self._made = new_folder(self._get(self.config, "trainer"), self.chosen)
        self.save_config_kwargs |= {"folder": self.folder, "continued": self.continued is not None}
        step = None if self.continued is None else _step(self._get(self.config, "ckpt_path"))
        self.parser.add_instantiator(functools.partial(logger_in, self.folder, step), Logger, subclasses=True)
        with self._naming_checkpoint("cannot build the model and the data of {}"):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds what each run has: progress, a report, and the checkpoints of the best and of the last epoch.

        A user's own progress bar or checkpoints take the place of these.
        """
        assert self.folder is not None
        config = self._get(self.config_init, "trainer")
        callbacks: list[Callback] = list(config.get("callbacks") or [])
        model, data = (self.chosen.get(option, "?").rpartition(".")[2] for option in names.GROUPS)
        callbacks += [Report(self.folder, model, data, self.quiet), self.began]
        if not self.quiet and config.get("enable_progress_bar") is not False and not _has(callbacks, ProgressBar):
            callbacks.append(progress())
        checkpoints = self.subcommand == "fit" and config.get("enable_checkpointing") is not False
        if checkpoints and not _has(callbacks, ModelCheckpoint):
            metric = f"val/{MAIN_METRIC[self.model.task.kind]}"
            common: dict[str, Any] = {"dirpath": self.folder / "checkpoints", "enable_version_counter": False}
            best = FiniteCheckpoint(monitor=metric, mode="max", filename="best", **common)
            # Not save_last: that copies the best, where what resumes a training is the newest.
            last = FiniteCheckpoint(filename="last", save_on_train_epoch_end=True, **common)
            callbacks += [best, last]
        numbers = {name: value for name, value in config.items() if not isinstance(value, str)}
        check_ranges(numbers, RANGES, "--trainer.")
        try:
            return super().instantiate_trainer(callbacks=callbacks, default_root_dir=str(self.folder), **kwargs)
        except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
            raise UsageError(f"--trainer: {' '.join(str(error).split())}") from error

    def after_instantiate_classes(self) -> None:
        """Refuses a checkpoint whose classes are not the data's, and one that is no local file.

        Lightning would run the code in a file that it fetches from a URL.
        """
        path = self._get(self.config, "ckpt_path")
        if not path or path in ("best", "last", "hpc"):  # which Lightning looks for in the run's folder
            return
        checkpoint = read_checkpoint(path)
        lacking = [name for name in ("loops", "optimizer_states", "lr_schedulers") if not checkpoint.get(name)]
        if lacking and self.subcommand == "fit":
            raise UserError(
                f"{path} holds no training that can go on: {', '.join(lacking)} missing. "
                "To train from its weights use --model.weights."
            )
        known, ours = task_of(checkpoint), self.model.task
        if known != ours:
            raise UserError(
                f"{path} knows {known.num_classes} {known.kind} classes ({_some(known.classes)}); "
                f"the data has {ours.num_classes} {ours.kind} ({_some(ours.classes)}). "
                "To train from these weights for other classes use --model.weights."
            )

    def fit(self, **arguments: Any) -> None:
        """Trains; however that ends, the user hears what was kept and how to go on."""
        try:
            self._run(self.trainer.fit, arguments)
        except BaseException:
            last = self.folder / "checkpoints" / "last.ckpt" if self.folder else None
            begun = self.trainer.global_step > 0  # and not refused
            if not self.quiet and begun and last is not None and last.is_file() and self.trainer.is_global_zero:
                print(f"kept: {last}, of the last epoch that was finished", file=sys.stderr)
                print(f"to go on: vid fit --ckpt_path {last}", file=sys.stderr)
            raise
        self._require_convergence()

    def _require_convergence(self) -> None:
        """Refuse to recommend the checkpoints of a training that diverged.

        Raises:
            UserError: A loss or weights are NaN or infinite.
        """
        metrics = self.trainer.callback_metrics
        losses = [name for name in ("train/loss", "val/loss") if name in metrics and not metrics[name].isfinite()]
        broken = [*losses, *([] if weights_finite(self.model) else ["weights"])]
        if broken:
            last = self.folder / "checkpoints" / "last.ckpt" if self.folder else None
            kept = f"; kept: {last}, of the last epoch with finite weights" if last and last.is_file() else ""
            raise UserError(
                f"training diverged: NaN or infinite after epoch {self.trainer.current_epoch}: {', '.join(broken)}; "
                f"lower --model.optim.lr, or clip gradients with --trainer.gradient_clip_val{kept}"
            )

    def validate(self, **arguments: Any) -> None:
        """Evaluates on the validation split."""
        self._run(self.trainer.validate, arguments)

    def test(self, **arguments: Any) -> None:
        """Evaluates on the test split."""
        self._run(self.trainer.test, arguments)

    def _run(self, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
        """Runs the trainer; an error before the end of the first batch may be the checkpoint's."""
        try:
            function(**arguments)
        except Exception:
            if self.began.done:
                raise
            with self._naming_checkpoint(f"vid {self.subcommand} failed before the end of its first batch with {{}}"):
                raise

    @contextmanager
    def _naming_checkpoint(self, what: str) -> Iterator[None]:
        """With a checkpoint, errors in one line that name it, unless they are the system's."""
        path = self._get(self.config, "ckpt_path")
        try:
            yield
        except Exception as error:
            system = any(isinstance(cause, (OSError, WorkerError)) or worker_error(cause) for cause in causes(error))
            if not path or system:
                raise
            with naming(path, what):
                raise

    def after_fit(self) -> None:
        """Says where the best checkpoint is and what to do with it."""
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        if best and self.trainer.is_global_zero and not self.quiet:
            score = self.trainer.checkpoint_callback.best_model_score  # type: ignore[union-attr]
            if score is None:  # a user's own checkpoints, which follow no metric
                print(f"checkpoint: {best}", file=sys.stderr)
            else:
                monitor = self.trainer.checkpoint_callback.monitor  # type: ignore[union-attr]
                clips = judged_clips(self.trainer, self.model, "val")
                print(f"best checkpoint: {best} ({monitor} {score:.4f} on {clips} clips)", file=sys.stderr)
            print(f"next: vid test --ckpt_path {best}", file=sys.stderr)


class FiniteCheckpoint(ModelCheckpoint):
    """ModelCheckpoint that keeps what it saved if training diverges: it skips weights and metrics that are NaN."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See Lightning."""
        if weights_finite(pl_module):
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See Lightning."""
        if weights_finite(pl_module):
            super().on_validation_end(trainer, pl_module)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """See Lightning."""
        return current is not None and not current.isnan() and super().check_monitor_top_k(trainer, current)


class Began(Callback):
    """Notes that a batch is done: before that, a run that failed has nothing that is worth keeping."""

    done = False

    def on_train_batch_end(self, *_: Any) -> None:
        """Called by Lightning."""
        self.done = True

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Called by Lightning, before training as well."""
        self.done = self.done or not trainer.sanity_checking

    def on_test_batch_end(self, *_: Any) -> None:
        """Called by Lightning."""
        self.done = True


def _parse_alone(arguments: list[str]) -> None:
    """Parse the model and the data of a config alone.

    Raises:
        UsageError: A class does not exist or does not accept its arguments.
    """
    parser = VidParser()
    parser.add_argument("-c", "--config", action="config")
    parser.add_subclass_arguments(VideoModule, "model", skip={"task"}, required=False)
    parser.add_subclass_arguments(VideoDataModule, "data", required=False)
    parser.parse_args(arguments)


RANGES = {
    **dict.fromkeys(("num_nodes", "check_val_every_n_epoch", "accumulate_grad_batches"), "[1, inf)"),
    **dict.fromkeys(("gradient_clip_val", "log_every_n_steps"), "[0, inf)"),
    **dict.fromkeys(("num_sanity_val_steps", "max_epochs", "max_steps"), "[-1, inf)"),
    "val_check_interval": "(0, inf)",
}
"""Intervals of the trainer's options that Lightning leaves unchecked, or checks too late."""


def new_folder(trainer: Any, chosen: dict[str, str]) -> tuple[Path, list[Path]]:
    """The folder of a new run: where and as the first logger is told to write, or ``runs/MODEL_DATA/version_N``.

    Args:
        trainer: The trainer's part of the config.
        chosen: The class paths of model and data.

    Returns:
        The folder, and those that did not exist before, the innermost first.
    """
    loggers = trainer.get("logger")
    first = loggers[0] if isinstance(loggers, list) and loggers else loggers
    options = {} if first is None or isinstance(first, (bool, list)) else first.get("init_args") or {}
    root = options.get("save_dir") or trainer.get("default_root_dir") or runs.ROOT
    parent, version = Path(root) / (options.get("name") or runs.pair(chosen)), options.get("version")
    if version is not None:
        folder = parent / (version if isinstance(version, str) else f"version_{version}")
        return folder, [path for path in (folder, *folder.parents) if not path.exists()]
    if getattr(rank_zero_only, "rank", 0):  # which is told by the first process where files go
        return (runs.versions(parent) or [parent / "version_0"])[-1], []
    made = [path for path in (parent, *parent.parents) if not path.exists()]
    folder = runs.claim(parent)
    return folder, [folder, *made]


def _step(path: str) -> int:
    """The step, as loggers count them, that a training goes on with from a checkpoint.

    Raises:
        UserError: The checkpoint cannot be read, or does not hold the progress of a training.
    """
    checkpoint = read_checkpoint(path)
    with naming(path, "{} holds no training that can go on"):
        return int(checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"])


def _has(callbacks: list[Callback], kind: type[Callback]) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)


def _task(evaluated: str | None, whole: bool, saved: Mapping[str, Any], data: VideoDataModule) -> dict[str, Any]:
    """The task of the data, or of the checkpoint that is evaluated on them.

    Raises:
        UserError: The data have a class that the checkpoint does not know, or are of another kind.
    """
    data.leave_unwritten(saved)
    if evaluated is None:
        return data.task.as_dict()
    checkpoint = read_checkpoint(evaluated)
    known = task_of(checkpoint)
    data.evaluate_as(known, checkpoint.get("datamodule_hyper_parameters", {}), whole)
    unknown = tuple(name for name in data.task.classes if name not in known.classes)
    if unknown and data.task.kind == known.kind:
        raise UserError(
            f"{evaluated} knows {known.num_classes} {known.kind} classes ({_some(known.classes)}), "
            f"and {len(unknown)} of the {data.task.num_classes} classes of the data are not among them: "
            f"{_some(unknown)}. Rename or leave them out, or train on them with --model.weights."
        )
    return data.task.as_dict() if data.task.kind != known.kind else known.as_dict()


def _some(classes: tuple[str, ...]) -> str:
    return ", ".join(map(shown, classes[:3])) + (", …" if len(classes) > 3 else "")
