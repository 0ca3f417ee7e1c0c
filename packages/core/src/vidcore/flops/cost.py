"""Compute per video, aggregated over any loop and any number of processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vidcore.batch import id_hash
from vidcore.errors import UserError


def macs_per_row(usage: Mapping[str, Tensor] | None, costs: Mapping[str, int], batch_size: int) -> Tensor:
    """Compute the MACs of each row of a batch: Σ usage·cost.

    Args:
        usage: (B,) number of runs per row, by component. A missing component counts as one run, so that a forgotten one
            is not free; None: every component ran once.
        costs: MACs of one run, by component.
        batch_size: B.

    Returns:
        (B,) float64, on the device of ``usage``.

    Raises:
        UserError: ``usage`` names a component without a cost, or its shape is not (B,).
    """
    usage = usage or {}
    if unknown := sorted(usage.keys() - costs.keys()):
        raise UserError(f"usage names {', '.join(unknown)}, which has no cost; the components are {', '.join(costs)}")
    device = next((u.device for u in usage.values()), torch.device("cpu"))
    total = torch.zeros(batch_size, dtype=torch.float64, device=device)
    for name, cost in costs.items():
        runs = usage.get(name)
        if runs is not None and runs.shape != (batch_size,):
            raise UserError(f"usage of {name} has shape {tuple(runs.shape)}; it must be ({batch_size},), one per row")
        total += float(cost) if runs is None else runs.to(device, torch.float64) * cost
    return total


class VideoCost(Metric):
    """GMACs per video: mean, median and 95th percentile over distinct videos.

    Rows of one id (views of one video) are summed. A distributed sampler repeats rows to fill its last batch: with
    ``view`` a row counts once per (id, view), without it a repeated row counts twice.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    videos: list[Tensor]
    views: list[Tensor]
    macs: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        """Pass ``kwargs`` to ``torchmetrics.Metric``, e.g. ``dist_sync_fn``."""
        super().__init__(**kwargs)
        for state in ("videos", "views", "macs"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Remove all rows."""
        super().reset()
        # Set the dtype: torchmetrics gathers an empty list as float32, which breaks if only some processes have rows.
        self.videos.append(torch.zeros(0, dtype=torch.int64, device=self.device))
        self.views.append(torch.zeros(0, dtype=torch.int64, device=self.device))
        self.macs.append(torch.zeros(0, dtype=torch.float64, device=self.device))

    def update(
        self,
        ids: Sequence[str],
        usage: Mapping[str, Tensor] | None,
        costs: Mapping[str, int],
        view: Tensor | None = None,
    ) -> None:
        """Add a batch of B rows.

        Args:
            ids: B ids of videos, the same in every process.
            usage: As in [`macs_per_row`][vidcore.flops.macs_per_row].
            costs: MACs of one run, by component.
            view: (B,) int, index of the view of each row, from 0. Default: unknown.

        Raises:
            UserError: As in [`macs_per_row`][vidcore.flops.macs_per_row].
        """
        macs = macs_per_row(usage, costs, len(ids))
        self.macs.append(macs.to(self.device))
        self.videos.append(torch.tensor([id_hash(video_id) for video_id in ids], dtype=torch.int64, device=self.device))
        unknown = torch.full((len(ids),), -1, dtype=torch.int64)
        self.views.append((unknown if view is None else view.long()).to(self.device))

    def compute(self) -> dict[str, Tensor]:
        """Return ``gmacs``, ``gmacs_p50`` and ``gmacs_p95``: float64 scalars, NaN without videos."""
        videos, views, macs = (dim_zero_cat(s) for s in (self.videos, self.views, self.macs))
        if not len(videos):
            nothing = torch.tensor(float("nan"), dtype=torch.float64, device=self.device)
            return {"gmacs": nothing, "gmacs_p50": nothing, "gmacs_p95": nothing}
        numbered = views >= 0
        pairs, which = torch.stack([videos, views])[:, numbered].unique(dim=1, return_inverse=True)
        once = macs.new_zeros(pairs.shape[1]).scatter_(0, which, macs[numbered])
        videos = torch.cat([videos[~numbered], pairs[0]])
        distinct, which = videos.unique(return_inverse=True)
        total = macs.new_zeros(len(distinct)).index_add_(0, which, torch.cat([macs[~numbered], once])) / 1e9
        median, high = total.quantile(total.new_tensor([0.5, 0.95]))
        return {"gmacs": total.mean(), "gmacs_p50": median, "gmacs_p95": high}
