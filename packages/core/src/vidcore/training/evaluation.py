"""Updating and reading the metrics of an evaluation."""

from __future__ import annotations

from torch import Tensor
from torchmetrics import Metric

from vidcore.batch import Batch, Output
from vidcore.errors import UserError


def update(metrics: Metric, output: Output, batch: Batch) -> None:
    """Update metrics with the output for one batch."""
    if output.detections is not None:
        metrics.update(output.detections, batch["target"], batch["inputs"]["rgb"].shape[2])
    else:
        metrics.update(output.logits, batch["target"], batch["ids"])


def results(metrics: Metric, split: str) -> dict[str, Tensor]:
    """Compute and reset the metrics of a split, over all processes; return values by name with the split in front.

    Raises:
        UserError: The metrics are empty as no sample could be read.
    """
    values = metrics.compute()
    metrics.reset()
    if not values:
        raise UserError(f"not one sample of {split} could be read")
    return {f"{split}/{name}": value for name, value in values.items()}
