"""Thresholds for a budget."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from vidcore.errors import UserError
from vidcore_adafocus.exits import (
    Criterion,
    confidence,
    exit_steps,
    look_threshold,
    mean_cost,
    middle_first,
    thresholds_for,
)

COSTS = torch.arange(1, 9).double() * 1e9


def scores(rows: int = 2000) -> torch.Tensor:
    """Confidences of held-out videos, which mostly grow over 8 steps."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(rows, 8, generator=generator) + torch.arange(8) / 8) / 2


@pytest.mark.parametrize("budget", [1.0, 1.3, 2.5, 4.0, 6.5, 7.9, 8.0, 20.0])
def test_budget_is_kept_within_two_percent(budget: float) -> None:
    thresholds = thresholds_for(scores(), COSTS, budget * 1e9)
    cost = mean_cost(scores(), thresholds, COSTS) / 1e9
    assert cost == pytest.approx(min(budget, 8.0), rel=0.02)


def test_ends_and_order() -> None:
    costs = [mean_cost(scores(), thresholds_for(scores(), COSTS, b * 1e9), COSTS) for b in (1, 2, 3, 4, 5, 6, 7, 8)]
    assert costs == sorted(costs)
    assert costs[0] == 1e9 and costs[-1] == 8e9


def test_budget_below_the_first_frame() -> None:
    with pytest.raises(UserError, match=r"budget of 0\.5 GMACs a video is below the 1 of the first frame"):
        thresholds_for(scores(), COSTS, 0.5e9)


def test_steps_against_a_slow_loop() -> None:
    thresholds = thresholds_for(scores(), COSTS, 3e9)
    found = exit_steps(scores(50), thresholds)
    for row, step in zip(scores(50), found.tolist(), strict=True):
        assert step == next(t for t in range(8) if row[t] >= thresholds[t])


@pytest.mark.parametrize("criterion", get_args(Criterion))
def test_confidence_grows_with_certainty(criterion: Criterion) -> None:
    logits = torch.tensor([[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [50, 0, 0]])
    found = confidence(logits, criterion)
    assert found.tolist() == sorted(found.tolist()) and len(found.unique()) == 4


def test_confidence_is_in_the_order_of_its_criterion() -> None:
    logits = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) * 2
    shares = logits.double().softmax(-1)
    best = shares.topk(2).values
    wanted = {
        "max_softmax": best[:, 0],
        "margin": best[:, 0] - best[:, 1],
        "entropy": -torch.special.entr(shares).sum(-1),
    }
    for criterion in get_args(Criterion):
        assert torch.equal(confidence(logits, criterion).argsort(), wanted[criterion].argsort()), criterion


def test_confident_videos_are_told_apart() -> None:
    logits = torch.tensor([[30.0, 0, 0], [40, 0, 0]])
    assert (logits.softmax(-1).amax(-1) == 1).all()
    for criterion in get_args(Criterion):
        first, second = confidence(logits, criterion).tolist()
        assert first < second


def test_unknown_criterion() -> None:
    with pytest.raises(UserError, match="exit_by must be one of max_softmax, margin, entropy"):
        confidence(torch.zeros(1, 3), "loudest")  # type: ignore[arg-type]


def test_middle_first() -> None:
    assert middle_first(9) == [4, 0, 8, 2, 6, 1, 3, 5, 7]
    assert middle_first(1) == [0]
    for frames in range(1, 40):
        order = middle_first(frames)
        assert order[0] == frames // 2
        assert sorted(order) == list(range(frames))


@pytest.mark.parametrize("looks", [0, 0.5, 2, 3.3, 4])
def test_looks_keep_their_budget(looks: float) -> None:
    probabilities = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    probabilities[:5] = 0.5  # some alike
    threshold = look_threshold(probabilities, looks)
    found = float((probabilities >= threshold).sum(1).float().mean())
    assert looks - 0.41 <= found <= looks
