"""Early exit: stop where one is confident, with thresholds that keep a budget."""

from __future__ import annotations

import itertools
from typing import Literal, get_args

import torch
from torch import Tensor

from vidcore.errors import OptionError, UserError

Criterion = Literal["max_softmax", "margin", "entropy"]


def confidence(logits: Tensor, criterion: str) -> Tensor:
    """How confident logits (..., K) are, (...): the higher, the more.

    Args:
        logits: Before softmax.
        criterion: One of ``Criterion``: by the largest probability, by its distance to the second, or by the
            entropy. Of the first two it is the negative logarithm of what is missing to 1, since many videos are too
            near to 1 to be told apart there.

    Raises:
        OptionError: An unknown criterion.
    """
    shares = logits.float().log_softmax(-1).sort(descending=True).values
    rest = shares[..., 1:].logsumexp(-1)
    if criterion == "max_softmax":
        return -rest
    if criterion == "margin":
        return -torch.cat([rest[..., None], shares[..., 1:2]], -1).logsumexp(-1)  # 1 - (first - second)
    if criterion == "entropy":
        return (shares.exp() * shares).sum(-1)
    raise OptionError(f"exit_by must be one of {', '.join(get_args(Criterion))}, got {criterion!r}")


def middle_first(frames: int) -> list[int]:
    """Numbers of the frames: the middle, the first, the last, then again and again the middles of what lies between."""
    order = list(dict.fromkeys([frames // 2, 0, frames - 1]))
    while len(order) < frames:
        known = sorted(order)
        order += [(a + b) // 2 for a, b in itertools.pairwise(known) if b - a > 1]
    return order


def exit_steps(scores: Tensor, thresholds: Tensor) -> Tensor:
    """After which step (N,), from 0, rows with confidences (N, T) leave."""
    return (scores >= thresholds).int().argmax(1)


def mean_cost(scores: Tensor, thresholds: Tensor, costs: Tensor) -> float:
    """MACs a video, where leaving after step t costs ``costs[t]``."""
    return float(costs[exit_steps(scores, thresholds)].mean())


def check_budget(costs: Tensor, budget: float) -> None:
    """Refuses a budget below the cost of the first step.

    Raises:
        UserError: Names both.
    """
    if budget < float(costs[0]):
        raise UserError(
            f"a budget of {budget / 1e9:.3g} GMACs a video is below the {float(costs[0]) / 1e9:.3g} of the first frame"
        )


def thresholds_for(scores: Tensor, costs: Tensor, budget: float) -> Tensor:
    """Thresholds with which held-out videos cost ``budget`` on average.

    As MSDNet (Huang et al., ICLR 2018, arXiv:1703.09844) does it: the share of videos that leave after step t is
    proportional to q^t, and q is what the budget allows.

    Args:
        scores: (N, T) confidences of held-out videos after each step.
        costs: (T,) MACs of leaving after each step, rising.
        budget: MACs a video on average.

    Returns:
        (T,): the last is -inf.

    Raises:
        UserError: A budget below the cost of the first step.
    """
    check_budget(costs, budget)
    low, high = -40.0, 40.0  # of log q: all leave after the first step; all stay to the last
    if budget >= float(costs[-1]):
        return _thresholds(scores, high)
    for _ in range(60):
        middle = (low + high) / 2
        found = _thresholds(scores, middle)
        low, high = (middle, high) if mean_cost(scores, found, costs) <= budget else (low, middle)
    return _thresholds(scores, low)


def look_threshold(probabilities: Tensor, looks: float) -> float:
    """The probability from which on the focus network looks so often a video, on average.

    Args:
        probabilities: (N, T) of a look at each frame of held-out videos.
        looks: Frames a video that it may look at, on average.

    Returns:
        In [0, 2): above 1 where it is never to look.
    """
    count = int(looks * len(probabilities) + 1e-6)
    ordered = probabilities.flatten().sort(descending=True).values
    if count >= len(ordered):
        return 0.0
    return float(ordered[count].nextafter(torch.tensor(2.0, dtype=ordered.dtype)))


def _thresholds(scores: Tensor, log_q: float) -> Tensor:
    """Thresholds with which the shares of rows that leave after each step are as ``exp(log_q · step)``."""
    rows, steps = scores.shape
    shares = torch.softmax(log_q * torch.arange(steps, dtype=torch.float64), 0)
    ends = (shares.cumsum(0) * rows).round().long()
    thresholds = torch.full((steps,), torch.inf, dtype=scores.dtype)
    stay = torch.ones(rows, dtype=torch.bool)
    for step in range(steps - 1):
        leave = int(ends[step]) - int(rows - stay.sum())
        if leave > 0:
            ordered = scores[stay, step].sort(descending=True).values
            thresholds[step] = ordered[leave - 1]
            stay &= scores[:, step] < thresholds[step]
    thresholds[-1] = -torch.inf
    return thresholds
