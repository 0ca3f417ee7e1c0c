"""Rewards, returns and the loss of the policy."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical

from vidcore.errors import UserError
from vidcore_adafocus import Reinforce
from vidcore_adafocus.reinforce import ppo_loss, returns, truth, whitened


def test_returns_against_a_slow_loop() -> None:
    rewards = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    found = returns(rewards, 0.7)
    for row in range(3):
        for step in range(5):
            wanted = sum(0.7 ** (later - step) * float(rewards[row, later]) for later in range(step, 5))
            assert float(found[row, step]) == pytest.approx(wanted, abs=1e-5)


def test_whitened_over_steps_and_rows() -> None:
    values = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 3 + 2
    found = whitened(values)
    assert float(found.mean()) == pytest.approx(0, abs=1e-6)
    assert float(found.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert whitened(torch.ones(1, 1)).isfinite().all()


def test_truth() -> None:
    logits = torch.tensor([[[2.0, 0, 0], [0, 0, 1]]])
    shares = logits.softmax(-1)
    torch.testing.assert_close(truth(logits, torch.tensor([2])), shares[..., 2])
    mixed = truth(logits, torch.tensor([[0.25, 0.75, 0.0]]))
    torch.testing.assert_close(mixed, 0.25 * shares[..., 0] + 0.75 * shares[..., 1])
    several = truth(logits, torch.tensor([[1.0, 0, 1]]), multi_label=True)
    torch.testing.assert_close(several, logits.sigmoid()[..., [0, 2]].mean(-1))


def one_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, 5, generator=generator, requires_grad=True)
    actions = torch.randint(5, (6, 4), generator=generator)
    return logits, actions, torch.randn(6, 4, generator=generator)


def test_first_step_has_the_gradient_of_the_advantage_actor_critic() -> None:
    logits, actions, wanted = one_batch()
    value = torch.full((6, 4), 0.3, requires_grad=True)
    how = Reinforce()

    def gradients(loss: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(loss, (logits, value))

    chosen = Categorical(logits=logits)
    log_prob = chosen.log_prob(actions)
    ours, clipped = ppo_loss(log_prob, log_prob.detach(), value, wanted, chosen.entropy(), how)
    found = gradients(ours)
    chosen = Categorical(logits=logits)
    actor = -(chosen.log_prob(actions) * (wanted - value.detach())).mean()
    theirs = actor + 0.5 * ((value - wanted) ** 2).mean() - 0.01 * chosen.entropy().mean()
    for mine, other in zip(found, gradients(theirs), strict=True):
        torch.testing.assert_close(mine, other)
    assert float(clipped) == 0


def test_later_steps_are_clipped() -> None:
    logits, actions, wanted = one_batch()
    old = Categorical(logits=logits).log_prob(actions).detach()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    shares = []
    for _ in range(4):
        chosen = Categorical(logits=logits)
        args = (chosen.log_prob(actions), old, torch.zeros(6, 4), wanted, chosen.entropy())
        loss, clipped = ppo_loss(*args, Reinforce())
        shares.append(float(clipped))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert shares[0] == 0 and shares[-1] > 0


def test_what_is_clipped_has_no_gradient() -> None:
    log_prob = torch.tensor([[0.5, 0.5]], requires_grad=True)
    wanted = torch.tensor([[1.0, -1.0]])
    zeros = torch.zeros(1, 2)
    loss, clipped = ppo_loss(log_prob, zeros, zeros, wanted, zeros, Reinforce())
    loss.backward()
    assert log_prob.grad is not None
    assert float(log_prob.grad[0, 0]) == 0 and float(log_prob.grad[0, 1]) > 0
    assert float(clipped) == 0.5


@pytest.mark.parametrize(
    ("options", "says"), [({"reward": "praise"}, "must be one of random"), ({"epochs": 0}, "at least 1, got 0")]
)
def test_options_that_do_not_fit(options: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Reinforce(**options)  # type: ignore[arg-type]
