"""Base class of data modules that read the task and all samples at once."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vidcore.datamodule import VideoDataModule
from vidcore.reading.index import SampleIndex
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.cached_index import cached_annotations
from vidcore_datasets.tables import reading_only


class Annotated(VideoDataModule):
    """Base class of the data sets of this package; a subclass implements ``read``.

    Args:
        **kwargs: Passed to [`VideoDataModule`][vidcore.datamodule.VideoDataModule].
    """

    cached: bool = False
    """Whether to keep the result of ``read`` in the user's cache. Requires that ``read`` reports every file it reads to
    [`depends_on`][vidcore_datasets.inputs.depends_on].
    """

    def read(self) -> Annotations:
        """Read the annotations. The result must depend on the options and the files only."""
        raise NotImplementedError(f"{type(self).__name__} does not implement read()")

    @cached_property
    def annotations(self) -> Annotations:
        """Result of ``read``, read at first use or loaded from the cache if no file has changed."""
        with reading_only(self.read_only):
            if self.cached:
                return cached_annotations(self.read, type(self).__name__.lower(), self._options())
            annotations = self.read()
        return replace(annotations, samples={key: SampleIndex.of(part) for key, part in annotations.samples.items()})

    def _options(self) -> dict[str, Any]:
        """Return the options of the data set itself, its class and its source file."""
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
        """Task of the data set."""
        return self.annotations.task

    def total(self) -> int:
        """Return the number of samples over all splits; identical splits count once."""
        distinct = {
            part.arrays["id"].tobytes(): len(part) for part in map(SampleIndex.of, self.annotations.samples.values())
        }
        return sum(distinct.values())

    def samples(self, split: str) -> SampleIndex:
        """Return the samples of a split; empty if the data set has no such split."""
        return SampleIndex.of(self.annotations.samples.get(split, ()))
