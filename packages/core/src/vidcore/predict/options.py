"""Options of ``vid predict``. Nothing here imports torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

from vidcore.errors import UserError
from vidcore.ranges import check_ranges


@dataclass(frozen=True)
class Options:
    """Options of ``vid predict``.

    Raises:
        UserError: A value is out of range.
    """

    views: int = 1
    """Number of clips per video, spread over time, whose scores are averaged."""
    batch_size: int = 1
    """Number of videos per batch and process."""
    num_workers: int = 0
    """Number of worker processes that decode, per process."""
    timeout: float = 60
    """Seconds that reading one video may take; after them it counts as unreadable."""
    flow: str | None = None
    """How optical flow is computed; None: as in training."""
    render: str | os.PathLike[str] | None = None
    """Folder for mp4 files of the clips as the model saw them; None: no files."""
    accelerator: str = "auto"
    """Lightning's accelerator: ``auto``, ``cpu``, ``gpu``, …"""
    devices: int = 1
    """Number of processes per node that share the list."""
    num_nodes: int = 1
    """Number of nodes, under torchrun or SLURM."""

    RANGES: ClassVar[dict[str, str]] = {
        "views": "[1, 1000000]",
        "batch_size": "[1, 1000000]",
        "num_workers": "[0, 1024]",
        "timeout": "(0, 1000000]",
        "devices": "[1, 4096]",
        "num_nodes": "[1, 4096]",
    }
    """Interval by option."""

    def __post_init__(self) -> None:
        check_ranges(vars(self), self.RANGES)
        for name in self.RANGES.keys() - {"timeout"}:
            if not isinstance(getattr(self, name), int):
                raise UserError(f"{name} must be a whole number, got {getattr(self, name)}")
