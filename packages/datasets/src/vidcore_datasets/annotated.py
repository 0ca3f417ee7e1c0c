"""The data module of whatever is read whole: task and samples from one place."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vidcore.datamodule import VideoDataModule
from vidcore.index import SampleIndex
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.cached_index import cached_annotations
from vidcore_datasets.tables import reading_only


class Annotated(VideoDataModule):
    """What the data sets of this package derive from; each gives :meth:`read`.

    Args:
        **kwargs: See :class:`~vidcore.datamodule.VideoDataModule`.
    """

    cached: bool = False
    """Whether what :meth:`read` gives is kept in the user's cache: it says all that it depends on, see
    :func:`~vidcore_datasets.inputs.depends_on`."""

    def read(self) -> Annotations:
        """Reads the annotations; what it gives follows from the options and the files alone."""
        raise NotImplementedError(f"{type(self).__name__} reads no annotations")

    @cached_property
    def annotations(self) -> Annotations:
        """What :meth:`read` gives; read at first use, or taken from the cache if no file has changed."""
        with reading_only(self.read_only):
            if self.cached:
                return cached_annotations(self.read, type(self).__name__.lower(), self._options())
            annotations = self.read()
        return replace(annotations, samples={key: SampleIndex.of(part) for key, part in annotations.samples.items()})

    def _options(self) -> dict[str, Any]:
        """The options of the data set itself, and where it is written."""
        source = Path(inspect.getfile(type(self)))
        general = inspect.signature(VideoDataModule).parameters
        own = {name: value for name, value in self.hparams.items() if name not in general}
        return {
            **own,
            "evaluated": [self.trained_on, self.model_task and self.model_task.kind],
            "class": type(self).__qualname__,
            "source": [str(source), source.stat().st_mtime_ns],
        }

    @property
    def task(self) -> Task:
        """What there is to predict."""
        return self.annotations.task

    def total(self) -> int:
        """Number of samples of all splits; splits that are the same count once."""
        distinct = {
            part.arrays["id"].tobytes(): len(part) for part in map(SampleIndex.of, self.annotations.samples.values())
        }
        return sum(distinct.values())

    def samples(self, split: str) -> SampleIndex:
        """The samples of a split; none where there is no such split."""
        return SampleIndex.of(self.annotations.samples.get(split, ()))
