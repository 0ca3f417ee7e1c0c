"""The LightningDataModule that every data set derives from."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader
from typing_extensions import Self

from vidcore.batch import Batch
from vidcore.clip import ClipSpec
from vidcore.distributed import gathered
from vidcore.errors import UserError, naming
from vidcore.hparams import make_plain
from vidcore.ranges import check_choice, check_ranges, class_ranges
from vidcore.reading.dataset import VideoDataset
from vidcore.reading.index import SampleIndex
from vidcore.reading.loader import Loader
from vidcore.reading.sampler import SeededSampler
from vidcore.redaction import labels, without_secrets_of
from vidcore.sample import Sample
from vidcore.seeds import run_seed
from vidcore.task import Task
from vidcore.video.decoder import BACKENDS, import_backend
from vidcore.video.flow import FlowSource
from vidcore.video.sampling import Short
from vidcore.video.transforms import Augment
from vidcore.weights.checkpoint import class_in, read_checkpoint
from vidcore.writing import cell

__all__ = ["Sample", "Split", "VideoDataModule", "VideoDataset"]

Split = Literal["train", "val", "test", "predict"]
_LABELLED: tuple[Split, ...] = ("train", "val", "test")


class VideoDataModule(LightningDataModule):
    """What every data set derives from; it gives ``task`` and ``samples``, and has the rest from here.

    The clip spec comes from the model that the trainer runs, or from
    [`clip_spec`][vidcore.datamodule.VideoDataModule.clip_spec] where it was set by hand.

    Args:
        batch_size: Videos a step and process.
        num_workers: Processes that decode, a loader.
        augment: The random transforms of training.
        views: Clips a video in test and prediction, spread over time and averaged.
        crops: Crops a clip in test and prediction, 1 or 3.
        short: What fills a clip that is longer than its video: ``loop`` starts again, ``clamp`` repeats the last frame.
        decoder: ``pyav``, or ``torchcodec`` or ``decord`` where installed.
        timeout: Seconds that reading one sample may take; after them it counts as unreadable.
        max_unreadable: Training reads another sample in place of an unreadable one, and stops when more than this share
            of its files turned out to be unreadable.
        flow: Where optical flow comes from, for models that take it: how it is computed, or where it is published.

    Raises:
        OptionError: A value outside its range or its choices.
    """

    RANGES: ClassVar[dict[str, str]] = {
        "batch_size": "[1, 1000000]",
        "num_workers": "[0, 1024]",
        "views": "[1, 1000000]",
        "timeout": "(0, 1000000]",
        "max_unreadable": "[0, 1]",
    }
    """Interval of each numeric option, see ``vidcore.ranges.check_ranges``; a data set adds those of its own."""

    def __init__(
        self,
        *,
        batch_size: int = 8,
        num_workers: int = 2,
        augment: Augment = Augment(),
        views: int = 1,
        crops: int = 1,
        short: Short = "loop",
        decoder: str = "pyav",
        timeout: float = 60,
        max_unreadable: float = 0.01,
        flow: FlowSource = FlowSource(),
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        make_plain(self, "vidcore.data")
        check_ranges(self.hparams, class_ranges(type(self)))
        check_choice("crops", crops, (1, 3))
        check_choice("short", short, get_args(Short))
        check_choice("decoder", decoder, BACKENDS)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.augment = augment if isinstance(augment, Augment) else Augment(**augment)
        self.views, self.crops, self.short, self.decoder = views, crops, short, decoder
        self.timeout, self.max_unreadable = timeout, max_unreadable
        self.flow = FlowSource.of(flow)
        self.unreadable: dict[str, str] = {}
        """Every file that could not be read so far: path to reason. Processes exchange theirs at the end of an epoch
        of training and at the end of the run."""
        self.sizes: dict[str, int] = {}
        """Number of samples of each split that was set up."""
        self.trained_on: bool | None = None
        """Whether these are the data of the training of the model that is evaluated; None: none is. See
        [`evaluate_as`][vidcore.datamodule.VideoDataModule.evaluate_as]."""
        self.read_only = False
        """Whether nothing is written to the folders of the data; see
        [`leave_unwritten`][vidcore.datamodule.VideoDataModule.leave_unwritten]."""
        self.model_task: Task | None = None
        """What the model that is evaluated predicts; None: none is. See
        [`evaluate_as`][vidcore.datamodule.VideoDataModule.evaluate_as]."""
        self._trained_in = ""
        self._clip_spec: ClipSpec | None = None
        self._datasets: dict[str, VideoDataset] = {}
        self._folder: str | None = None
        self._train_files: frozenset[str] = frozenset()

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **kwargs: Any) -> Self:  # type: ignore[override]
        """Build the data that a checkpoint was trained on; no code in the file is run, and none is imported for it.

        Args:
            checkpoint_path: A local file.
            **kwargs: Hyperparameters that take the place of the checkpoint's.

        Raises:
            UserError: See [`vidcore.weights.checkpoint.read_checkpoint`][] and `class_in` there.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        found = class_in(checkpoint, checkpoint_path, "datamodule_hyper_parameters", cls)
        with naming(checkpoint_path):
            data = super(VideoDataModule, found).load_from_checkpoint(checkpoint_path, weights_only=True, **kwargs)
            data.leave_unwritten(checkpoint["datamodule_hyper_parameters"])
        return data

    @property
    def task(self) -> Task:
        """What there is to predict; from annotation files alone, without touching a video."""
        raise NotImplementedError(f"{type(self).__name__} defines no task")

    def samples(self, split: Split) -> Sequence[Sample]:
        """The samples of ``train``, ``val`` or ``test``, in an order that is the same every time."""
        raise NotImplementedError(f"{type(self).__name__} defines no samples")

    def evaluate_as(self, task: Task, training: Mapping[str, Any], whole: bool = True) -> None:
        """Evaluate a trained model with its own classes; to be called before annotations are read.

        The data may have some of the model's classes only, in any order. Where they have no splits and the model was
        trained on other data, all samples are evaluated, and none are set apart.

        Args:
            task: The model's.
            training: Hyperparameters of the data module that it was trained on.
            whole: Whether all samples may be evaluated; otherwise splits are drawn as for training.
        """
        self.model_task = task
        self.trained_on = not whole or _place(self.hparams) == _place(training)
        self._trained_in = "" if self.trained_on else _folder(training)

    def leave_unwritten(self, saved: Mapping[str, Any]) -> None:
        """Only read the folders that a checkpoint names; what would be written there goes into the user's cache.

        Args:
            saved: The data's hyperparameters in the checkpoint. Where others have taken their place, they do not count.
        """

        def same(ours: Any, theirs: Any) -> bool:
            return bool(ours and theirs) and _resolved(str(ours)) == _resolved(str(theirs))

        self.read_only = any(same(self.hparams.get(name), saved.get(name)) for name in ("root", "path"))
        flow = saved.get("flow")
        if isinstance(flow, Mapping) and same(self.flow.cache, flow.get("cache")):
            self.flow = replace(self.flow, read_only=True)

    @property
    def clip_spec(self) -> ClipSpec:
        """How clips are cut: as set here, or as the trainer's model wants them."""
        if self._clip_spec is not None:
            return self._clip_spec
        model = getattr(self.trainer, "lightning_module", None)
        if model is None:
            raise UserError("no clip spec: pass the data to a trainer with a model, or set its clip_spec")
        return model.clip_spec

    @clip_spec.setter
    def clip_spec(self, spec: ClipSpec) -> None:
        self._clip_spec = spec

    def dataset(self, split: Split) -> VideoDataset:
        """The torch data set of one split.

        Raises:
            UserError: The split has no samples, or one whose label is no class.
        """
        if split not in self._datasets:
            samples, task = self.samples(split), None if split == "predict" else self.task
            if not samples:
                sizes = {name: len(self.samples(name)) for name in _LABELLED if self.model_task is not None}
                there = ", ".join(f"{name} has {size}" for name, size in sizes.items() if size)
                raise UserError(f"{type(self).__name__}: split {split!r} has no samples{there and f' ({there})'}")
            if self._trained_in:
                self._warn_of_trained(SampleIndex.of(samples).paths)
            if task is not None and self.model_task not in (None, task):
                samples, task = _relabelled(samples, task, self.model_task), self.model_task
            evaluation = {"views": self.views, "crops": self.crops} if split in ("test", "predict") else {}
            if split == "val" and self.clip_spec.pairs:
                evaluation = {"views": 2}
            self._datasets[split] = VideoDataset(
                samples,
                task,
                self.clip_spec,
                train=split == "train",
                augment=self.augment,
                short=self.short,
                decoder=self.decoder,
                timeout=self.timeout,
                flow=self.flow,
                **evaluation,
            )
        return self._datasets[split]

    def _warn_of_trained(self, paths: Sequence[str]) -> None:
        begin = os.path.join(self._trained_in, "")  # noqa: PTH118
        there = sum(os.path.abspath(path).startswith(begin) for path in paths if "://" not in path)  # noqa: PTH100
        if there:
            rank_zero_info(
                f"{there} of the {len(paths)} clips are in {self._trained_in}, where the model's training clips come "
                "from: they may be among them"
            )

    def setup(self, stage: str) -> None:
        """Reads the annotations of the splits that ``stage`` (``fit``, ``validate``, ``test``, ``predict``) needs."""
        splits: dict[str, tuple[Split, ...]] = {
            "fit": ("train", "val"),
            "validate": ("val",),
            "test": ("test",),
            "predict": ("predict",),
        }
        import_backend(self.decoder)  # the error of a missing one is better than one for each sample
        self.sizes |= {split: len(self.dataset(split)) for split in splits[stage]}
        sizes = ", ".join(f"{split} {self.sizes[split]}" for split in splits[stage])
        total = self.total() if stage in ("validate", "test") else None
        rank_zero_info(f"{type(self).__name__}: {sizes}{'' if total is None else f' of {total}'} samples")
        # Asked for here, since processes must ask for it together.
        self._folder = getattr(self.trainer, "log_dir", None)

    def total(self) -> int | None:
        """Number of samples of all splits, or None if it is not known."""
        return None

    def _loader(self, split: Split) -> DataLoader[Any]:
        dataset = self.dataset(split)
        train = split == "train"
        trainer = self.trainer
        processes = getattr(trainer, "distributed_sampler_kwargs", None) or {"num_replicas": 1, "rank": 0}
        # A last batch of one video would upset batch normalisation.
        drop_last = train and len(dataset) >= self.batch_size * processes["num_replicas"]
        model = getattr(trainer, "lightning_module", None)
        seed = getattr(model, "seed", run_seed())
        sampler = SeededSampler(dataset, train=train, seed=seed, drop_last=drop_last, **processes)
        # Where training goes on from a checkpoint, workers get their first samples before Lightning tells the epoch.
        sampler.set_epoch(max(getattr(trainer, "current_epoch", 0), getattr(model, "first_epoch", 0)))
        if train:
            sampler.resume(getattr(model, "first_epoch", 0), getattr(model, "first_batch", 0) * self.batch_size)
        return Loader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            collate_fn=dataset.collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0 and split in ("train", "val"),
            generator=torch.Generator().manual_seed(seed),  # its own: torch's is the model's
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled clips of ``train``, drawn and transformed at random."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        """One centred clip a video of ``val``; where the model wants pairs, the earliest and the latest."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """All views of each video of ``test``."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """All views of each video of ``predict``, unlabelled."""
        return self._loader("predict")

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Collects what the workers could not read.

        Raises:
            UserError: In training, too much cannot be read.
        """
        errors = batch.get("errors", {})
        new = errors.keys() - self.unreadable.keys()
        self.unreadable.update(errors)
        for path in sorted(new):
            warnings.warn(f"unreadable: {errors[path]}", stacklevel=1)
        if getattr(self.trainer, "training", False):
            if not batch["ids"]:
                raise self._unreadable_error("not one sample of a batch could be read, nor what was tried instead")
            if new:
                self._check_unreadable()
        return batch

    def share_unreadable(self) -> None:
        """Every process learns what the others could not read; they have to call this together.

        Raises:
            UserError: In training, too much cannot be read.
        """
        for part in gathered(self.unreadable):
            self.unreadable.update(part)
        if getattr(self.trainer, "training", False):
            self._check_unreadable()

    def _check_unreadable(self) -> None:
        if not self.unreadable:
            return
        if not self._train_files:
            self._train_files = frozenset(self.dataset("train").samples.paths)
        files = self._train_files
        bad = len(files & self.unreadable.keys())
        if bad > self.max_unreadable * len(files):
            raise self._unreadable_error(
                f"{bad} of {len(files)} training files cannot be read, a share above {self.max_unreadable:g}; "
                "mend them, take them off the annotations, or allow more with --data.max_unreadable"
            )

    def _unreadable_error(self, reason: str) -> UserError:
        report = self._report_unreadable()
        some = [f"  {error}" for _, error in sorted(self.unreadable.items())[:5]]
        return UserError("\n".join([reason, *some, *([f"all are listed in {report}"] if report else [])]))

    def _report_unreadable(self) -> Path | None:
        """Writes ``unreadable_RANK.csv`` into the run's folder; where there is none, nothing."""
        if self._folder is None or self.trainer is None:
            return None
        report = Path(self._folder) / f"unreadable_{self.trainer.global_rank}.csv"
        report.parent.mkdir(parents=True, exist_ok=True)
        # Names of files may hold bytes that are no text; they are written as they are.
        called = labels(self.unreadable)
        with report.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = sorted((called[path], without_secrets_of(path, error)) for path, error in self.unreadable.items())
            csv.writer(file).writerows([("path", "error"), *(map(cell, row) for row in rows)])
        return report

    def teardown(self, stage: str) -> None:
        """Writes ``unreadable_RANK.csv`` into the run's folder where samples were passed over."""
        report = self._report_unreadable() if self.unreadable and stage != "predict" else None
        if report is not None:
            warnings.warn(f"{len(self.unreadable)} files could not be read; they are listed in {report}", stacklevel=1)
        self.share_unreadable()
        self._datasets.clear()
        self._train_files = frozenset()


def _place(hparams: Mapping[str, Any]) -> list[str]:
    """What hyperparameters say about which data they are of."""
    given = [hparams.get(name) for name in ("root", "path", "annotation_folder")]
    return [str(hparams.get("_class_path")), *("" if value is None else _resolved(str(value)) for value in given)]


def _folder(hparams: Mapping[str, Any]) -> str:
    """The folder that the files are in, so far as hyperparameters say; empty for URLs."""
    root, path = (str(hparams.get(name) or "") for name in ("root", "path"))
    folder = root or os.path.dirname(path)  # noqa: PTH120
    return "" if not (root or path) or "://" in folder else _resolved(folder)


def _resolved(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)


def _relabelled(samples: Sequence[Sample], ours: Task, theirs: Task) -> SampleIndex:
    """The samples with the class indices of another task that has all of the classes."""
    index = {name: number for number, name in enumerate(theirs.classes)}
    return SampleIndex.of(samples).relabelled(np.array([index[name] for name in ours.classes]))
