"""The annotations of a data set: its task and its samples by split."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from vidcore.reading.dataset import Sample
from vidcore.reading.index import INDEX, SampleIndex
from vidcore.redaction import labels, redacted
from vidcore.task import Task
from vidcore_datasets.splits import Split, first_few, recorded_splits, remembered_splits

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Annotations:
    """Task and samples of a data set, without reading its videos.

    Args:
        task: Classes and kind of prediction.
        samples: Samples by split: ``train``, ``val``, ``test``.
    """

    task: Task
    samples: Mapping[str, Sequence[Sample]]


def with_classes(annotations: Annotations, classes: Sequence[str]) -> Annotations:
    """Keep the samples of the given classes of single-label annotations; classes take the order of ``classes``."""
    index = {name: number for number, name in enumerate(classes)}
    new = {old: index[name] for old, name in enumerate(annotations.task.classes) if name in index}
    samples = {
        split: [replace(sample, target=new[sample.target]) for sample in part if sample.target in new]
        for split, part in annotations.samples.items()
    }
    return Annotations(Task("single_label", tuple(classes)), samples)


def complete_splits(
    given: Mapping[Split, Sequence[Sample]], root: Path, file: Path, seed: int, trained_on: bool | None = None
) -> dict[str, SampleIndex]:
    """Create the splits that a data set does not define.

    Only train: the samples are split into train, val and test. Train and test: val is drawn from train. No test: test
    uses val, with a warning. The draw is stratified by class (multi-label data: not stratified) and saved in ``file``;
    samples of the same video stay in the same split.

    Args:
        given: Samples by split; splits may be missing or empty.
        root: Folder that the paths in ``file`` are relative to.
        file: See ``vidcore_datasets.splits.remembered_splits``.
        seed: Random seed of the draw.
        trained_on: See [`VideoDataModule.trained_on`][vidcore.datamodule.VideoDataModule.trained_on]. If False, no
            splits are drawn: without any given splits, every split holds all samples. Splits that ``file`` already
            holds are still used, with a warning.

    Raises:
        UserError: There are too few clips to draw from, or ``file`` is invalid.
    """
    train, val, test = (SampleIndex.of(given.get(split, ())) for split in ("train", "val", "test"))
    recorded = recorded_splits(file) if train and not val and trained_on is False else None
    if recorded is not None:
        logger.warning("%s divides %s into splits; delete it to evaluate all clips", recorded, root)
    if train and not val and trained_on is False and recorded is None:
        if not test:
            val = test = train
    elif train and not val:
        keys = _below(root, train.paths)
        single = bool((train.kinds == INDEX).all())
        strata: dict[str, str] = {}
        for key, stratum in zip(keys, train.labels[0].tolist() if single else repeat(""), strict=single):
            strata.setdefault(key, str(stratum))
        splits: tuple[Split, ...] = ("train", "val") if test else ("train", "val", "test")
        drawn = remembered_splits(strata, file, splits, seed)
        numbers = np.array([splits.index(drawn[key]) for key in keys])
        parts = {split: train.take(np.flatnonzero(numbers == number)) for number, split in enumerate(splits)}
        train, val, test = parts["train"], parts["val"], parts.get("test", test)
    elif val and not test:
        logger.warning("%s has no test split: test uses the %d validation clips", redacted(str(root)), len(val))
        test = val
    return {"train": train, "val": val, "test": test}


def beginning(root: Path) -> str:
    """Return the prefix of the paths below a folder; joining strings is ten times as fast as joining paths."""
    return "" if root == Path() else os.path.join(root, "")  # noqa: PTH118


def _below(root: Path, paths: Sequence[str]) -> list[str]:
    start, called = beginning(root), labels(paths)
    relative = (
        os.path.normpath(path.removeprefix(start)) if path.startswith(start) else os.path.relpath(path, root)
        for path in map(called.__getitem__, paths)
    )
    return [path.replace(os.sep, "/") for path in relative]


def warn_of_unseen(annotations: Annotations, where: Path) -> None:
    """Warn of classes that occur in val or test but not in train; no warning if train is empty."""

    def seen(split: Split) -> set[int]:
        return set(SampleIndex.of(annotations.samples[split]).labels[0].tolist())

    train = seen("train")
    unseen = sorted((seen("val") | seen("test")) - train)
    if train and unseen:
        names = [annotations.task.classes[index] for index in unseen]
        logger.warning("%s: no training clip for the classes %s", where, first_few(names))
