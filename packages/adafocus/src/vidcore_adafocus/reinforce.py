"""Learning where to look by reinforcement: rewards, returns, and the loss of proximal policy optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vidcore.ranges import check_choice, check_ranges


@dataclass(frozen=True)
class Reinforce:
    """How V1's policy learns (Schulman et al., 2017, arXiv:1707.06347, without generalised advantages).

    Args:
        reward: Of a step, the confidence in what is true against that of a ``random`` window at the same step, or
            against that at the ``previous`` step, or the confidence itself, ``raw``.
        discount: Of the reward of each later step.
        epochs: Steps of the optimiser a batch. With 1, as in the authors' code, nothing is ever clipped.
        clip: By how much the probability of an action may change in a batch, as a share.
        value: Weight of the critic's loss.
        entropy: Weight of the entropy, which keeps the policy undecided.
        look_cost: Of a policy that skips, what a look at a frame takes off its reward.

    Raises:
        OptionError: A value outside its range or its choices.
    """

    reward: Literal["random", "previous", "raw"] = "random"
    discount: float = 0.7
    epochs: int = 1
    clip: float = 0.2
    value: float = 0.5
    entropy: float = 0.01
    look_cost: float = 0.0

    def __post_init__(self) -> None:
        check_choice("reinforce.reward", self.reward, ("random", "previous", "raw"))
        ranges = {"discount": "[0, 1]", "epochs": "[1, inf)", "clip": "(0, inf)"}
        ranges |= dict.fromkeys(("value", "entropy", "look_cost"), "[0, inf)")
        check_ranges(vars(self), ranges, "reinforce.")

    @classmethod
    def of(cls, value: Reinforce | Mapping[str, Any]) -> Reinforce:
        """The record itself, or the one that a checkpoint holds as a mapping."""
        return value if isinstance(value, Reinforce) else cls(**value)


def truth(logits: Tensor, target: Tensor, multi_label: bool = False) -> Tensor:
    """The confidence (B, T) in what is true.

    Args:
        logits: (B, T, K).
        target: (B,) classes, or (B, K) shares or, of several labels, 0 and 1.
        multi_label: Whether classes do not exclude each other; then it is the mean over those that are true.
    """
    if target.dim() == 1:
        target = F.one_hot(target, logits.shape[-1])
    target = target.to(logits.dtype)[:, None]
    if multi_label:
        return (logits.sigmoid() * target).sum(-1) / target.sum(-1).clamp(min=1)
    return (logits.softmax(-1) * target).sum(-1)


def returns(rewards: Tensor, discount: float) -> Tensor:
    """The discounted sums (B, T) of rewards (B, T) from each step to the last."""
    total, found = torch.zeros_like(rewards[:, 0]), []
    for reward in reversed(rewards.unbind(1)):
        total = reward + discount * total
        found.append(total)
    return torch.stack(found[::-1], 1)


def whitened(values: Tensor) -> Tensor:
    """Values with mean 0 and standard deviation 1 over all of them."""
    return (values - values.mean()) / (values.std(correction=0) + 1e-5)


def ppo_loss(
    log_prob: Tensor, old: Tensor, value: Tensor, wanted: Tensor, entropy: Tensor, how: Reinforce
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and the share of actions of which the clip stops the gradient.

    Args:
        log_prob: (B, T) of the actions taken, by the policy as it is.
        old: The same by the policy that took them.
        value: (B, T) that the critic expects.
        wanted: (B, T) whitened returns.
        entropy: (B, T) of the policy.
        how: Weights.
    """
    ratio = (log_prob - old.detach()).exp()
    advantage = wanted - value.detach()
    free, clipped = ratio * advantage, ratio.clamp(1 - how.clip, 1 + how.clip) * advantage
    loss = -torch.minimum(free, clipped) + how.value * (value - wanted) ** 2 - how.entropy * entropy
    return loss.mean(), (clipped < free).float().mean()
