"""Python interface: train, test and predict with what the ``vid`` commands run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcore.cli import mistake_behind, train, without_noise
from vidcore.cli.parsing import ModelParser, load_model
from vidcore.cli.predict import listed
from vidcore.errors import UserError
from vidcore.module import VideoModule
from vidcore.predict.options import Options
from vidcore.predict.predictor import predict
from vidcore.predict.rows import Row, as_line
from vidcore.redaction import redacted
from vidcore.text import printable

if TYPE_CHECKING:
    from vidcore.cli.lightning import VidCLI

File = str | os.PathLike[str]


@dataclass(frozen=True)
class Model:
    """Trained model, as [`load`][vidcore.api.load] returns it."""

    module: VideoModule
    """The LightningModule, in eval mode."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        return self.module.task.classes

    def predict(
        self,
        videos: File | Iterable[File],
        *,
        views: int = 1,
        batch_size: int = 1,
        num_workers: int = 0,
        timeout: float = 60,
        flow: str | None = None,
        render: File | None = None,
        accelerator: str = "auto",
    ) -> list[Row]:
        """Predict on video files, as ``vid predict`` does.

        Args:
            videos: A file, a folder (all videos below it), a glob pattern, or several of them.
            views: Number of clips per video, spread over time, whose scores are averaged.
            batch_size: Number of videos per batch.
            num_workers: Number of worker processes that decode. Default: 0, in this process.
            timeout: Seconds that reading one video may take; after them it counts as unreadable.
            flow: How optical flow is computed, for models with flow input. Default: as in training.
            render: Folder for mp4 files of the clips as the model saw them, with the prediction drawn in.
            accelerator: Lightning's accelerator: ``auto``, ``cpu``, ``gpu``, …

        Returns:
            One row (dict) per video, in the order of ``videos``, also for a single video: ``path``, ``top`` (list of
            ``class`` and ``score``) or ``detections``, ``gmacs``, ``ms``; or ``path`` and ``error`` for a video that
            cannot be read. Values are those of the command's JSON: scores that are not finite are None.

        Raises:
            UserError: Nothing is found for one of ``videos``, or an option is invalid.

        Example:
            ```python
            for row in model.predict("clips/", views=3):
                print(row["path"], row["error"] if "error" in row else row["top"][0]["class"])
            ```
        """
        rows: list[Row] = []
        with _as_command():
            options = Options(views, batch_size, num_workers, timeout, flow, render, accelerator)
            several = [videos] if isinstance(videos, (str, os.PathLike)) else videos
            paths, _ = listed([os.fspath(video) for video in several], render)
            predict(self.module, paths, options, collect=lambda row: rows.append(json.loads(as_line(row))))
        place = {printable(redacted(path)): number for number, path in enumerate(paths)}
        return sorted(rows, key=lambda row: place[row["path"]])


@dataclass(frozen=True)
class Run:
    """Finished training, as [`fit`][vidcore.api.fit] returns it."""

    folder: Path
    """Folder of the run, with ``config.yaml``, ``metrics.csv``, ``checkpoints/`` and ``report/index.html``."""
    metrics: dict[str, float]
    """Metrics at the end of the training, such as ``train/loss``, ``val/loss`` and ``val/top1``."""
    best: Path | None
    """Checkpoint of the best epoch; None if the training wrote none."""
    trainer: Mapping[str, Any]
    """Arguments of Lightning's trainer; [`test`][vidcore.api.Run.test] uses them too."""

    def test(self) -> dict[str, float]:
        """Evaluate the best checkpoint on the test split, as ``vid test`` does, in a run folder of its own.

        Returns:
            Metrics by name: ``test/top1``, ``test/gmacs`` (per video), ``test/ms``, …

        Raises:
            UserError: There is no best checkpoint, or the test split cannot be read.
        """
        done = _run("test", ["--ckpt_path", str(self._best()), *_config(trainer=self.trainer)])
        return _metrics(done)

    def model(self) -> Model:
        """Load the best checkpoint.

        Raises:
            UserError: There is no best checkpoint.
        """
        return load(self._best())

    def _best(self) -> Path:
        if self.best is None:
            raise UserError(f"no best checkpoint in {self.folder}: the trainer was told to write none")
        return self.best


def load(
    checkpoint: File | None = None,
    *,
    model: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    weights: File | None = None,
    classes: int | File | list[str] | tuple[str, ...] | None = None,
) -> Model:
    """Load a trained model: from a checkpoint, or an installed model by name with its weights.

    Args:
        checkpoint: Checkpoint that ``vid fit`` or [`fit`][vidcore.api.fit] wrote.
        model: Instead: name of an installed model, or a class path.
        model_args: Arguments of the model, e.g. ``{"variant": "a2"}``.
        weights: Name of published weights, or a safetensors, checkpoint or state-dict file.
        classes: Number of classes, class names, or a text file with one name per line. Default: the classes of the
            method's published figures.

    Raises:
        UserError: A file or a name is not found, or the weights do not fit.

    Example:
        ```python
        model = vidcore.load("best.ckpt")
        model = vidcore.load(model="movinet", model_args={"variant": "a0"}, weights="k600")
        ```
    """
    if checkpoint is None and model is None:
        raise UserError("nothing to load: give a checkpoint, or model=NAME and weights=FILE")
    names = tuple(classes) if isinstance(classes, (list, tuple)) else None
    options = {"ckpt_path": checkpoint, "weights": weights, "classes": None if names else classes}
    argv = [
        f"--{name}={os.fspath(value) if isinstance(value, os.PathLike) else value}"
        for name, value in options.items()
        if value is not None
    ]
    if model is not None or model_args:
        argv += _config(model={"class_path": model, "init_args": model_args or {}})
    with _as_command():
        arguments = ModelParser("predict", "").parse(argv)
        arguments.classes = names or arguments.classes
        return Model(load_model(arguments, trained=True))


def fit(
    model: str,
    data: str,
    *,
    model_args: Mapping[str, Any] | None = None,
    data_args: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Run:
    """Train a model on a data set, as ``vid fit`` does: same recipe, run folder and report.

    Args:
        model: Name of an installed model, or a class path.
        data: Name of an installed data set, or a class path.
        model_args: Arguments of the model, as after ``--model.`` on the command line.
        data_args: Arguments of the data set, as after ``--data.``.
        trainer: Arguments of Lightning's trainer, as after ``--trainer.``. Values are plain, as in a config file: a
            callback or logger is ``{"class_path": …, "init_args": …}`` or its short name.
        seed: Seed of the whole training.

    Raises:
        UserError: A name or a value is wrong, the data cannot be read, or the training diverged.

    Example:
        ```python
        run = vidcore.fit("movinet", "folder", data_args={"root": "clips/"}, trainer={"max_epochs": 20})
        run.test()["test/top1"]
        ```
    """
    chosen = {
        "model": {"class_path": model, "init_args": model_args or {}},
        "data": {"class_path": data, "init_args": data_args or {}},
    }
    done = _run("fit", _config(seed_everything=seed, trainer=trainer or {}, **chosen))
    assert done.folder is not None
    best = getattr(done.trainer.checkpoint_callback, "best_model_path", "")
    return Run(done.folder.resolve(), _metrics(done), Path(best) if best else None, trainer or {})


def _run(command: str, argv: list[str]) -> VidCLI:
    with _as_command():
        return train.run(command, argv, quiet=True)


def _metrics(done: VidCLI) -> dict[str, float]:
    return {name: float(value) for name, value in done.trainer.callback_metrics.items()}


def _config(**parts: Any) -> list[str]:
    """Return the command-line arguments that give a config.

    Raises:
        UserError: A value is not a plain one.
    """
    try:
        return ["--config", json.dumps(parts, default=os.fspath, ensure_ascii=False)]
    except TypeError as error:
        raise UserError(f"arguments must be plain values, as in a config file: {error}") from error


@contextmanager
def _as_command() -> Iterator[None]:
    """Hide the warnings that ``vid`` hides, and raise the user's mistake in place of an error that wraps it."""
    try:
        with without_noise():
            yield
            return
    except Exception as error:
        mistake = mistake_behind(error)
        if mistake is None or mistake is error:
            raise
    raise mistake  # not from `error`, which may come from it
