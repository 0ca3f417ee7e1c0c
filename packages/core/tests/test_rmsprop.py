from __future__ import annotations

import numpy as np
import pytest
import torch

from vidcore.training.optim import Optim
from vidcore.training.rmsprop import RMSpropTF


def test_steps_follow_the_formula():
    """Against the definition, written out in NumPy: decay before clipping, epsilon inside the root."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 4))
    s, m = np.zeros_like(w), np.zeros_like(w)
    weight = torch.nn.Parameter(torch.tensor(w))
    optimizer = RMSpropTF([weight], lr=0.3, weight_decay=0.1)
    for scale in (0.01, 5.0, 0.3):
        gradient = scale * rng.normal(size=w.shape)
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        g = gradient + 0.1 * w
        g = g * min(1, 1 / np.linalg.norm(g))
        s = 0.9 * s + 0.1 * g**2
        m = 0.9 * m + 0.3 * g / np.sqrt(s + 1)
        w = w - m
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-12)


def test_it_trains_and_a_zero_gradient_is_no_nan():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer, _ = Optim("rmsprop_tf", lr=0.1, weight_decay=0.0, warmup=0.0).build([weight], total_steps=100)
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    assert torch.equal(weight, torch.ones(2, 2))
    for _ in range(50):
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(0, abs=1e-2)
