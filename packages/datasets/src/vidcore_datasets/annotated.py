"""The data module of whatever is read whole: task and samples from one place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from vidcore.datamodule import VideoDataModule
from vidcore.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations


class Annotated(VideoDataModule):
    """What the data sets of this package derive from; each gives :meth:`read`.

    Args:
        **kwargs: See :class:`~vidcore.datamodule.VideoDataModule`.
    """

    def read(self) -> Annotations:
        """Reads the annotations; what it gives follows from the options and the files alone."""
        raise NotImplementedError(f"{type(self).__name__} reads no annotations")

    @cached_property
    def annotations(self) -> Annotations:
        """What :meth:`read` gives; read at first use."""
        return self.read()

    @property
    def task(self) -> Task:
        """What there is to predict."""
        return self.annotations.task

    def samples(self, split: str) -> Sequence[Sample]:
        """The samples of a split; none where there is no such split."""
        return self.annotations.samples.get(split, ())
