"""Data sets as their owners publish them: figures that are known, videos that may be missing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidcore.errors import UserError
from vidcore.index import SampleIndex
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
    """What its owners say of a data set.

    Args:
        name: As in ``--data``, with the edition where there are several.
        url: Where its annotations, and how to get its videos, are found.
        classes: How many there are.
        sizes: Samples by split, of the splits whose number is known.
    """

    name: str
    url: str
    classes: int
    sizes: Mapping[str, int]

    def differences(self, annotations: Annotations) -> list[str]:
        """What annotations have otherwise, one phrase each, with both numbers; absent splits are passed over."""
        pairs = [("classes", annotations.task.num_classes, self.classes)]
        for split, size in self.sizes.items():
            if annotations.samples.get(split):
                pairs.append((f"{split} samples", len(annotations.samples[split]), size))
        return [f"{count:,} {what} instead of {right:,}" for what, count, right in pairs if count != right]


def with_all_splits(annotations: Annotations, name: str) -> Annotations:
    """Uses the test samples to validate where a data set has no validation split, and the other way round.

    This is the practice with all of them, and said in a warning: what was chosen by the one is no honest measure on the
    other. Splits that are both there, or both not, stay as they are.
    """
    samples = dict(annotations.samples)
    for split, other, why in (("test", "val", "no labelled test"), ("val", "test", "no validation")):
        if not samples.get(split) and samples.get(other):
            samples[split] = samples[other]
            logger.warning("%s has %s split: %s uses the %d %s samples", name, why, split, len(samples[other]), other)
    return replace(annotations, samples=samples)


def present(samples: SampleIndex, places: Mapping[str, str], missing: Missing, name: str, report: Path) -> SampleIndex:
    """The samples whose videos are there, with the paths where they are.

    Args:
        samples: Of one split, with the paths of the official layout.
        places: What :func:`~vidcore_datasets.find_videos.find_videos` found.
        missing: ``error`` or ``skip``: whether to go on without those that are not there. All of them is an error.
        name: Of the data set and split, for messages.
        report: CSV file (``id``, ``path``) that the missing ones are written to; where its folder cannot be written to,
            one in the user's cache takes its place.

    Raises:
        UserError: Videos are missing; the text has their number, the first few, and where all are listed.
    """
    where = [places.get(path) for path in samples.paths]
    lost = samples.take(np.flatnonzero([place is None for place in where]))
    if lost:
        listed = write_table_or_cache(report, "missing", ("id", "path"), [(sample.id, sample.path) for sample in lost])
        said = f"{name}: {len(lost):,} of {len(samples):,} videos are missing, such as {first_few(lost.paths, 3)}"
        if listed is not None:
            said += f"; all are listed in {listed}"
        if len(lost) == len(samples):
            raise UserError(f"{said}; is `root` right?")
        if missing == "error":
            raise UserError(f"{said}; --data.missing skip goes on with the {len(samples) - len(lost):,} that are there")
        logger.warning("%s; going on with the other %s", said, f"{len(samples) - len(lost):,}")
        samples = samples.take(np.flatnonzero([place is not None for place in where]))
    found = [place for place in where if place is not None]
    return samples if found == samples.paths else samples.moved(found)


class PublishedData(Annotated):
    """What data sets derive from that have an owner; each gives :meth:`read` and :attr:`published`.

    Videos are looked for below :attr:`root` by their names, see :func:`~vidcore_datasets.find_videos.find_videos`.

    Args:
        root: The folder with the videos.
        annotation_folder: Where the annotation files are; ``root`` or ``root/annotations`` if not given.
        missing: What to do when videos are missing: ``error``, or ``skip`` them. Either way they are listed in
            ``root/missing_NAME_SPLIT.csv``.
        **kwargs: See :class:`~vidcore.datamodule.VideoDataModule`.
    """

    cached = True
    published: Published
    """The figures to compare with; a property where options choose an edition."""

    def __init__(
        self, root: str, annotation_folder: str | None = None, missing: Missing = "error", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.annotation_folder = annotation_folder
        self.missing = missing

    @cached_property
    def annotations(self) -> Annotations:
        """What the owner's files list, whether the videos are there or not; differing figures are a warning."""
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
        """The samples of a split whose videos are there.

        Raises:
            UserError: Videos of this split are missing, and not to be skipped.
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
    """The first of some names that is a file in ``folder``, or else in ``root`` or one of its ``subfolders``.

    Args:
        root: The folder with the videos.
        names: Of the file in different releases; may be glob patterns.
        published: Whose file it is, for messages.
        folder: The one folder to look in, if given.
        subfolders: Of ``root``, as archives unpack to.

    Raises:
        UserError: None is there; the text says where to get them.
    """
    places = [Path(folder)] if folder is not None else [Path(root), *(Path(root, name) for name in subfolders)]
    for place in places:
        for name in names:
            depends_on(place / name)
            found = sorted(place.glob(name))
            if found:
                return depends_on(found[0])
    where = " or ".join(map(str, places))
    raise UserError(f"{published.name}: no {' or '.join(names)} in {where}; it comes from {published.url}")
