"""RMSprop as TensorFlow defines it, with which mobile networks were trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


class RMSpropTF(Optimizer):
    """RMSprop with epsilon inside the root and the learning rate inside the momentum, and clipping tensor by tensor.

    With a large epsilon, and MoViNet's is 1, the root is of another size than ``torch.optim.RMSprop``'s, which adds
    epsilon after it. By Keras's RMSprop with ``clipnorm``:

        g ← g + weight_decay · w;  g ← g · min(1, clip / ‖g‖)
        s ← rho · s + (1 - rho) · g²;  m ← momentum · m + lr · g / √(s + eps);  w ← w - m

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        rho: Decay of the mean square s, which begins at 0.
        momentum: Decay of m.
        eps: Added to the mean square.
        weight_decay: An L2 penalty of weight_decay / 2 · ‖w‖².
        clip: Largest norm of one tensor's gradient, the penalty's included.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        rho: float = 0.9,
        momentum: float = 0.9,
        eps: float = 1.0,
        weight_decay: float = 0.0,
        clip: float = 1.0,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "momentum": momentum, "eps": eps, "weight_decay": weight_decay, "clip": clip}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """See ``torch.optim.Optimizer``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["square"], state["momentum"] = torch.zeros_like(weight), torch.zeros_like(weight)
                gradient = weight.grad.add(weight, alpha=group["weight_decay"])
                gradient.mul_((group["clip"] / gradient.norm().clamp_min(1e-12)).clamp_max(1.0))
                state["square"].mul_(group["rho"]).addcmul_(gradient, gradient, value=1 - group["rho"])
                root = state["square"].add(group["eps"]).sqrt_()
                state["momentum"].mul_(group["momentum"]).addcdiv_(gradient, root, value=group["lr"])
                weight.sub_(state["momentum"])
        return loss
