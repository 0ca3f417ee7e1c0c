"""Windows, policies and classifiers."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from vidcore_adafocus.heads import AverageHead, MaxPoolHead, RecurrentHead
from vidcore_adafocus.policies import GaussianPolicy, GridPolicy, SkippingPolicy
from vidcore_adafocus.variants import GRIDS, default_patch
from vidcore_adafocus.windows import corners, crop_windows


@pytest.mark.parametrize("places", GRIDS)
def test_places_of_the_grid_reach_all_corners_and_never_leave_the_frame(places: int) -> None:
    policy = GridPolicy(4, (1, 1), 2, 4, places)
    side = math.isqrt(places)
    for patch in range(1, 225):
        found = corners(policy.positions(torch.arange(places)), (224, 224), patch, whole=True)
        wanted = [
            [i * (224 - patch) // (side - 1), j * (224 - patch) // (side - 1)] for i in range(side) for j in range(side)
        ]
        assert found.tolist() == wanted


def test_windows_at_whole_pixels_are_slices() -> None:
    images = torch.rand(3, 3, 20, 28)
    for corner in ([0, 0], [3, 5], [12, 20], [12, 0]):
        found = crop_windows(images, torch.tensor([corner] * 3).float(), 8)
        y, x = corner
        torch.testing.assert_close(found, images[:, :, y : y + 8, x : x + 8], rtol=0, atol=1e-6)


def test_each_image_has_its_own_window() -> None:
    images, corner = torch.rand(2, 3, 16, 16), torch.tensor([[1.0, 2.0], [5.0, 8.0]])
    found = crop_windows(images, corner, 8)
    assert torch.equal(found[0], images[0, :, 1:9, 2:10])
    assert torch.equal(found[1], images[1, :, 5:13, 8:16])


def test_windows_between_pixels_are_those_of_grid_sample() -> None:
    images, positions, patch = torch.rand(4, 3, 30, 30), torch.rand(4, 2), 12
    centre = -1 + (2 * positions * (30 - patch) + patch) / 30
    scale = torch.full((4,), patch / 30)
    zero = torch.zeros(4)
    theta = torch.stack([torch.stack([scale, zero, centre[:, 1]], 1), torch.stack([zero, scale, centre[:, 0]], 1)], 1)
    wanted = F.grid_sample(images, F.affine_grid(theta, [4, 3, patch, patch], align_corners=False), align_corners=False)
    found = crop_windows(images, corners(positions, (30, 30), patch, whole=False), patch)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_gradient_of_the_position_is_the_slope_of_the_picture() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 2, 40), torch.linspace(0, 3, 40), indexing="ij")
    image = (torch.sin(y) * torch.cos(x))[None, None].double()
    weights = torch.rand(1, 1, 16, 16, dtype=torch.float64)

    def loss(positions: torch.Tensor) -> torch.Tensor:
        return (crop_windows(image, corners(positions, (40, 40), 16, whole=False), 16) * weights).sum()

    positions = torch.tensor([[0.41, 0.63]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(positions), positions)
    assert gradient.abs().min() > 1
    for axis in range(2):
        step = torch.zeros(1, 2, dtype=torch.float64)
        step[0, axis] = 1e-4
        slope = (loss(positions + step) - loss(positions - step)) / 2e-4
        assert float(gradient[0, axis]) == pytest.approx(float(slope), rel=1e-4)


def test_window_as_large_as_the_frame_is_the_frame() -> None:
    images = torch.rand(5, 3, 12, 12)
    for whole in (True, False):
        corner = corners(torch.rand(5, 2), (12, 12), 12, whole)
        assert torch.equal(crop_windows(images, corner, 12), images)


def test_gaussian_actions_are_not_cut_and_positions_are() -> None:
    torch.manual_seed(0)
    policy = GaussianPolicy(4, (2, 2), frames=3, channels=4, width=8).eval()
    features, _ = policy.encode(torch.randn(64, 3, 4, 2, 2), torch.zeros(64, 0))
    assert features.shape == (64, 1, 8)
    chosen = policy.distribution(features)
    actions = chosen.sample((20,))
    outside = (actions < 0) | (actions > 1)
    assert outside.any()
    positions = policy.positions(actions)
    assert positions.min() >= 0 and positions.max() <= 1
    mean = policy.place(features)
    wanted = -((actions - mean) ** 2).sum(-1) / (2 * 0.25**2) - math.log(2 * math.pi * 0.25**2)
    torch.testing.assert_close(chosen.log_prob(actions), wanted)


def test_places_and_looks_are_drawn_apart() -> None:
    torch.manual_seed(0)
    policy = SkippingPolicy(4, (2, 2), channels=4, width=8, places=25)
    features = torch.randn(3, 2, 8)
    chosen = policy.distribution(features)
    actions = chosen.sample()
    assert actions.shape == (3, 2, 2)
    logits, look = policy.actor(features), policy.look(features).squeeze(-1)
    place = logits.log_softmax(-1).gather(-1, actions[..., :1]).squeeze(-1)
    looks = -F.binary_cross_entropy_with_logits(look, actions[..., 1].float(), reduction="none")
    torch.testing.assert_close(chosen.log_prob(actions), place + looks)
    positions = policy.positions(actions)
    assert torch.equal(positions[..., :2], policy.grid[actions[..., 0]])
    assert torch.equal(positions[..., 2], actions[..., 1].float())
    torch.testing.assert_close(policy.place(features)[..., 2], torch.sigmoid(look))
    total = sum(
        (one.exp() * one).sum(-1) for one in (logits.log_softmax(-1), F.logsigmoid(torch.stack([look, -look], -1)))
    )
    torch.testing.assert_close(chosen.entropy(), -total)


def test_other_features_at_one_step_start_from_the_same_memory() -> None:
    torch.manual_seed(0)
    head = RecurrentHead(6, 3, 5).eval()
    features, others = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    found = head.counterfactual(features, others)
    for t in range(4):
        sequence = torch.cat([features[:, :t], others[:, t : t + 1]], 1)
        logits, _ = head(sequence, torch.zeros(2, 5), 0)
        torch.testing.assert_close(found[:, t], logits[:, -1])


def test_pooled_head_against_a_slow_loop() -> None:
    torch.manual_seed(0)
    head = MaxPoolHead(6, 3, frames=4, width=5).eval()
    features = torch.randn(2, 4, 6)
    found, _ = head(features, torch.zeros(2, 5), 0)
    for t in range(4):
        pooled = torch.stack([head.hidden(features[:, s]) for s in range(t + 1)]).amax(0)
        torch.testing.assert_close(found[:, t], pooled @ head.weight[:, t].T + head.bias[:, t])


def test_average_head_is_the_average_of_logits() -> None:
    head = AverageHead(4, 5, 3).eval()
    glances, focuses = torch.randn(2, 8, 4), torch.randn(2, 12, 5)
    wanted = head.glance(glances).mean(1) + head.focus(focuses).mean(1)
    torch.testing.assert_close(head(glances, focuses), wanted)


@pytest.mark.parametrize(("size", "patch"), [(224, 128), (64, 32), (32, 32), (112, 64)])
def test_default_patch(size: int, patch: int) -> None:
    assert default_patch(size) == patch
