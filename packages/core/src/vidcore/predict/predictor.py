"""Predicting with Lightning's trainer: one process, or several that share the list."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy

from vidcore.batch import Batch
from vidcore.datamodule import VideoDataModule
from vidcore.distributed import gathered
from vidcore.errors import UsageError, UserError
from vidcore.module import VideoModule
from vidcore.predict.options import Options
from vidcore.predict.rows import Output, Row, RowFile, as_line
from vidcore.progress import Progress
from vidcore.reading.workers import worker_error
from vidcore.redaction import redacted
from vidcore.sample import Sample
from vidcore.text import printable
from vidcore.video.encode import write_video
from vidcore.video.flow import FlowSource
from vidcore.video.render import boxes_in, draw, frames_of


def predict(
    model: VideoModule,
    paths: list[str],
    options: Options,
    output: Output | None = None,
    collect: Callable[[Row], None] | None = None,
) -> int:
    """Predict on the videos whose rows are not in the output yet.

    Args:
        model: In eval mode.
        paths: The videos; the first process's list is used in all processes.
        options: How to predict.
        output: File for the rows; None: they are printed to stdout.
        collect: Called with each row, which is neither written nor printed; nor is anything else printed.

    Returns:
        The number of videos that could not be read; 0 in all processes but the first.

    Raises:
        UsageError: Lightning refuses devices or nodes, or the model has no RGB input to render.
        UserError: The output cannot be read or written.
        KeyboardInterrupt: Ctrl-C; what was finished is in the output.
    """
    if options.render is not None and "rgb" not in model.clip_spec.modalities:
        raise UsageError(f"--render: {type(model).__name__} has no RGB input")
    renderer = Renderer(Path(options.render), model) if options.render is not None else None
    rows = Rows(output, renderer, collect)
    with _warnings_only():
        return _predict(model, paths, options, output, rows)


def _predict(model: VideoModule, paths: list[str], options: Options, output: Output | None, rows: Rows) -> int:
    trainer = _trainer(options, rows)
    first = trainer.is_global_zero
    with output.locked() if output and first else nullcontext():
        done = {row["path"] for row in output.join(paths) if "error" not in row} if output and first else set()
        data = Paths(
            batch_size=options.batch_size,
            num_workers=options.num_workers,
            views=options.views,
            timeout=options.timeout,
            flow=_flow(model, options.flow),
        )
        data.paths = [path for path in paths if printable(redacted(path)) not in done]
        if output and len(data.paths) < len(paths):
            already = f"{len(paths) - len(data.paths)} of {len(paths)} videos are in {output.path} already"
            print(f"vid: {already}; remove it to predict them anew", file=sys.stderr)
        failure = ""
        try:
            trainer.predict(model, data, return_predictions=False)
        except Exception as error:  # the others finish their shares
            mistake = error if isinstance(error, UserError) else worker_error(error)
            if mistake is None:
                raise
            failure = str(mistake)
        except SystemExit:
            if trainer.interrupted and output and first:
                kept = output.join(paths) if trainer.world_size == 1 else output.read()
                where = output.path if trainer.world_size == 1 else f"{output.path} and its parts"
                print(f"vid: {len(kept)} rows are in {where}; the same command goes on", file=sys.stderr)
            if trainer.interrupted:  # Lightning leaves with 1
                raise KeyboardInterrupt from None
            raise
        failures = [text for text in gathered(failure) if text]
        if not first:
            return 0
        if failures:
            raise UserError("; ".join(dict.fromkeys(failures)))
        if output:
            names = {printable(redacted(path)) for path in paths}
            listed = [row for row in output.join(paths) if row["path"] in names]
            rows.failed, rows.not_numbers = sum("error" in row for row in listed), sum(map(_without_numbers, listed))
    if rows.not_numbers:
        rows.say(f"{rows.not_numbers} videos have scores that are not numbers (null in their rows)")
    if rows.failed:
        rows.say(f"{rows.failed} of {len(paths)} videos could not be read")
    return rows.failed


def _flow(model: VideoModule, method: str | None) -> FlowSource:
    """By the method given, or as in training; of these videos nothing is published.

    Raises:
        OptionError: An unknown method.
        UsageError: Nothing says which.
    """
    if "flow" in model.clip_spec.modalities and method is None and model.flow_source.get("published"):
        raise UsageError("the model was trained with flow that somebody published: say how to compute it with --flow")
    # A cache that the checkpoint names is read, never written to.
    named = bool(model.flow_source.get("cache"))
    fields = {**model.flow_source, "published": None, "read_only": named}
    return FlowSource(**fields | ({"method": method} if method is not None else {}))


@contextmanager
def _warnings_only() -> Iterator[None]:
    """Hide what Lightning says of devices, and its warning of an empty list: nothing is left to do."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _trainer(options: Options, rows: Rows) -> Trainer:
    several = options.devices * options.num_nodes > 1
    try:
        trainer = Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.num_nodes,
            # Processes wait for each other at the end only, and the shares may take hours more or less.
            strategy=DDPStrategy(timeout=timedelta(days=30)) if several else "auto",
            callbacks=[rows],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        if isinstance(trainer.strategy, DDPStrategy) and trainer.strategy.cluster_environment is not None:
            trainer.strategy.cluster_environment.validate_settings(options.devices, options.num_nodes)
    except (MisconfigurationException, ValueError, ImportError) as error:
        text = " ".join(str(error).split())
        raise UsageError(f"--accelerator {options.accelerator}, --devices {options.devices}: {text}") from error
    return trainer


class Paths(VideoDataModule):
    """The videos that are left to do."""

    paths: Sequence[str] = ()

    def setup(self, stage: str) -> None:
        """Takes the first process's list: only that knows what is done, and a folder may have grown since."""
        self.paths = self.trainer.strategy.broadcast(self.paths)  # type: ignore[union-attr]

    def samples(self, split: str) -> list[Sample]:
        """The videos, unlabelled."""
        return [Sample(path) for path in self.paths]

    def predict_dataloader(self) -> Any:
        """This process's share."""
        return super().predict_dataloader() if self.paths else []

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Nothing: rows tell what could not be read."""
        return batch

    def teardown(self, stage: str) -> None:
        """Nothing, for the same reason."""


class Rows(Callback):
    """Writes a row as soon as its video is done."""

    def __init__(
        self, output: Output | None, renderer: Renderer | None, collect: Callable[[Row], None] | None = None
    ) -> None:
        self.output, self.renderer, self.collect = output, renderer, collect
        self.failed = self.not_numbers = 0
        self.file: RowFile | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Looks where to write, and begins to count."""
        rank, processes = trainer.global_rank, trainer.world_size
        if self.output is not None:
            self.file = self.output.file(rank, processes)
        share = len(range(rank, len(trainer.datamodule.paths), processes))  # type: ignore[attr-defined]
        what = "videos" if processes == 1 else f"videos of process 0 of {processes}"
        shown = rank == 0 and self.collect is None and (self.output is not None or not sys.stdout.isatty())
        self.progress = Progress(what, share, shown).__enter__()

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Writes the batch's rows."""
        for row in outputs:
            trace = row.pop("trace", {})
            if "error" in row:
                self.failed += 1
                self.say(row["error"])
            else:
                self.not_numbers += _without_numbers(row)
            if self.renderer is not None and "error" not in row:
                row["rendered"] = printable(str(self.renderer.render(row, trace, batch)))
            row |= {key: printable(redacted(row[key])) for key in ("path", "error") if key in row}
            if self.collect is not None:
                self.collect(row)
            elif self.file is not None:
                self.file.write(row)
            else:
                sys.stdout.buffer.write(as_line(row))
                sys.stdout.buffer.flush()
            self.progress.advance()

    def say(self, text: str) -> None:
        """Print to stderr, unless the rows are collected."""
        if self.collect is None:
            print(f"vid: {text}", file=sys.stderr)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Closes the file."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Closes the file."""
        self._close()

    def _close(self) -> None:
        if self.file is not None:
            self.file.close()
        self.progress.__exit__(None, None, None)


def _without_numbers(row: Row) -> bool:
    """Whether a score is NaN, which is null in files."""
    scores = [found["score"] for key in ("top", "detections") for found in row.get(key, ())]
    return any(score is None or math.isnan(score) for score in scores)


class Renderer:
    """Writes the first view of a video as the model saw it, with the prediction and the trace drawn in.

    Args:
        folder: Where the mp4 files go.
        model: The model.
    """

    def __init__(self, folder: Path, model: VideoModule) -> None:
        self.folder, self.spec = folder, model.clip_spec

    def path(self, video: str) -> Path:
        """File for a video: its name, and a hash of its absolute path that no other video shares."""
        digest = hashlib.sha256(os.fsencode(Path(video).absolute())).hexdigest()[:16]
        return self.folder / f"{Path(redacted(video)).stem[:50]}_{digest}.mp4"  # 50: names have at most 255 bytes

    def render(self, row: Row, trace: dict[str, Any], batch: Batch) -> Path:
        """Draws the clip and writes it.

        Raises:
            UserError: The system refuses.
        """
        frames = frames_of(batch["inputs"]["rgb"][batch["ids"].index(row["path"])], self.spec)
        lines = [f"{best['class']}  {best['score']:.2f}" for best in row.get("top", [])[:2]]
        lines.append(f"{row['gmacs']:.3f} GMACs")
        if "detections" in row:
            trace = {**trace, "boxes": [boxes_in(row["detections"], frame) for frame in range(len(frames))]}
        if "decisions" in row:
            trace = {**trace, "decisions": row["decisions"]}
        path = self.path(row["path"])
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_video(path, draw(frames, lines, trace), fps=self.spec.fps or 8)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from error
        return path
