"""Base class of published data sets: compare with published figures, handle missing videos."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidcore.errors import UserError
from vidcore.reading.index import SampleIndex
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.find_videos import find_videos
from vidcore_datasets.inputs import depends_on
from vidcore_datasets.splits import first_few
from vidcore_datasets.tables import reading_only, write_table_or_cache

logger = logging.getLogger(__name__)

Missing = Literal["error", "skip"]


@dataclass(frozen=True)
class Published:
    """Published figures of a data set.

    Args:
        name: Name as in ``--data``, plus the edition if there are several.
        url: Source of the annotations and of instructions to get the videos.
        classes: Number of classes.
        sizes: Number of samples by split; splits of unknown size are left out.
    """

    name: str
    url: str
    classes: int
    sizes: Mapping[str, int]

    def differences(self, annotations: Annotations) -> list[str]:
        """Return one phrase with both numbers for each figure that differs; missing splits are skipped."""
        pairs = [("classes", annotations.task.num_classes, self.classes)]
        for split, size in self.sizes.items():
            if annotations.samples.get(split):
                pairs.append((f"{split} samples", len(annotations.samples[split]), size))
        return [f"{count:,} {what} instead of {right:,}" for what, count, right in pairs if count != right]


def with_all_splits(annotations: Annotations, name: str) -> Annotations:
    """Use test as val if a data set has no val split, and val as test if it has no test split.

    This is common practice, but a checkpoint selected on a split is not measured fairly on it; a warning says so.
    Nothing changes if both splits exist or both are missing.
    """
    samples = dict(annotations.samples)
    for split, other, why in (("test", "val", "no labelled test"), ("val", "test", "no validation")):
        if not samples.get(split) and samples.get(other):
            samples[split] = samples[other]
            logger.warning("%s has %s split: %s uses the %d %s samples", name, why, split, len(samples[other]), other)
    return replace(annotations, samples=samples)


def present(samples: SampleIndex, places: Mapping[str, str], missing: Missing, name: str, report: Path) -> SampleIndex:
    """Return the samples whose videos exist, with their actual paths.

    Args:
        samples: Samples of one split, with the paths of the official layout.
        places: Result of [`find_videos`][vidcore_datasets.find_videos.find_videos].
        missing: ``error``, or ``skip`` to leave out samples whose videos are missing. If all are missing, it is an
            error in any case.
        name: Name of the data set and split, for messages.
        report: CSV file (``id``, ``path``) to list the missing videos in; a file in the user's cache if its folder is
            not writable.

    Raises:
        UserError: Videos are missing; the message has their number, the first few, and the file that lists all.
    """
    where = [places.get(path) for path in samples.paths]
    lost = samples.take(np.flatnonzero([place is None for place in where]))
    if lost:
        listed = write_table_or_cache(report, "missing", ("id", "path"), [(sample.id, sample.path) for sample in lost])
        message = f"{name}: {len(lost):,} of {len(samples):,} videos are missing, such as {first_few(lost.paths, 3)}"
        if listed is not None:
            message += f"; all are listed in {listed}"
        if len(lost) == len(samples):
            raise UserError(f"{message}; is `root` correct?")
        if missing == "error":
            raise UserError(f"{message}; to use the other {len(samples) - len(lost):,}, pass --data.missing skip")
        logger.warning("%s; continuing with the other %s", message, f"{len(samples) - len(lost):,}")
        samples = samples.take(np.flatnonzero([place is not None for place in where]))
    found = [place for place in where if place is not None]
    return samples if found == samples.paths else samples.moved(found)


class PublishedData(Annotated):
    """Base class of published data sets; a subclass defines ``read`` and ``published``.

    Videos are found by name below ``root``, see [`find_videos`][vidcore_datasets.find_videos.find_videos].

    Args:
        root: Folder with the videos.
        annotation_folder: Folder with the annotation files. Default: ``root`` or ``root/annotations``.
        missing: ``error`` or ``skip`` if videos are missing. They are listed in ``root/missing_NAME_SPLIT.csv`` in both
            cases. Default: ``error``.
        **kwargs: Passed to [`VideoDataModule`][vidcore.datamodule.VideoDataModule].
    """

    cached = True
    published: Published
    """Published figures to compare with."""

    def __init__(
        self, root: str, annotation_folder: str | None = None, missing: Missing = "error", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.annotation_folder = annotation_folder
        self.missing = missing

    @cached_property
    def annotations(self) -> Annotations:
        """Annotations of all videos, existing or not; a warning reports figures that differ from the published ones."""
        annotations = super().annotations
        differences = self.published.differences(annotations)
        if differences:
            where = self.published.url
            logger.warning("%s has %s, see %s", self.published.name, ", ".join(differences), where)
        return with_all_splits(annotations, self.published.name)

    @cached_property
    def _places(self) -> Mapping[str, str]:
        parts = [SampleIndex.of(part) for part in self.annotations.samples.values()]
        return find_videos({path for part in parts for path in part.paths}, self.root)

    def samples(self, split: str) -> SampleIndex:
        """Return the samples of a split whose videos exist.

        Raises:
            UserError: Videos of this split are missing and ``missing`` is ``error``.
        """
        samples = super().samples(split)
        if not samples:
            return samples
        name = self.published.name
        report = Path(self.root) / f"missing_{name}_{split}.csv"
        with reading_only(self.read_only):
            return present(samples, self._places, self.missing, f"{name}, {split}", report)


def official_file(
    root: str | Path,
    names: Sequence[str],
    published: Published,
    folder: str | Path | None = None,
    subfolders: Sequence[str] = ("annotations",),
) -> Path:
    """Return the first file with one of the given names in ``folder``, or else in ``root`` or its ``subfolders``.

    Args:
        root: Folder with the videos.
        names: Names of the file in different releases; may be glob patterns.
        published: Data set that the file belongs to, for messages.
        folder: If given, the only folder to search.
        subfolders: Folders below ``root`` that the official archives unpack to.

    Raises:
        UserError: No such file; the message says where to get it.
    """
    places = [Path(folder)] if folder is not None else [Path(root), *(Path(root, name) for name in subfolders)]
    for place in places:
        for name in names:
            depends_on(place / name)
            found = sorted(place.glob(name))
            if found:
                return depends_on(found[0])
    where = " or ".join(map(str, places))
    raise UserError(f"{published.name}: no {' or '.join(names)} in {where}; download it from {published.url}")
