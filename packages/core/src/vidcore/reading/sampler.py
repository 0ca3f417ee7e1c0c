"""Which samples a process reads in an epoch, and with which seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sized
from typing import Any

from torch.utils.data import DistributedSampler

from vidcore.seeds import mixed

Draw = tuple[int, int]
"""A sample's index and the seed of what is drawn for it."""


class SeededSampler(DistributedSampler[Any]):
    """Yields (index, seed): what is drawn for a sample depends on the run's seed, the epoch and the index alone.

    How many processes and workers there are and what was read before change nothing, so a training that was interrupted
    draws what it would have drawn. Training shuffles, and repeats or drops a few samples where processes would not
    get equally many. Evaluation gives each sample to one process, and None, which reads nothing, to those that have
    one less: processes that wait for each other need equally many batches.

    Lightning leaves a ``DistributedSampler`` as it is and tells it the epoch.

    Args:
        dataset: What the indices count.
        train: Shuffle.
        seed: Of the run.
        num_replicas: Number of processes.
        rank: Of this process.
        drop_last: In training, drop rather than repeat.
    """

    def __init__(
        self, dataset: Sized, *, train: bool, seed: int, num_replicas: int = 1, rank: int = 0, drop_last: bool = False
    ) -> None:
        self.resumed, self.skipped = 0, 0
        super().__init__(dataset, num_replicas, rank, train, seed, train and drop_last)  # type: ignore[arg-type]

    def resume(self, epoch: int, skipped: int) -> None:
        """In this epoch, this process's first samples are not read again; the length stays that of a whole epoch."""
        self.resumed, self.skipped = epoch, skipped

    def __iter__(self) -> Iterator[Draw | None]:
        total = len(self.dataset)  # type: ignore[arg-type]
        indices = super().__iter__() if self.shuffle else range(self.rank, self.total_size, self.num_replicas)
        for index in itertools.islice(indices, self.skipped if self.epoch == self.resumed else 0, None):
            yield (index, mixed(self.seed, self.epoch, index)) if index < total else None
