"""Policies that place the windows.

Every policy takes global feature maps (B, T, C, h, w) and a hidden state (B, H), and returns positions (B, T, 2), y and
x in [0, 1], and the new hidden state. Policies for whole clips return one position per clip, (B, 1, 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal

from vidcore.ranges import check_choice
from vidcore_adafocus.variants import GRIDS, AdaFocusConfig, Windows

GAUSSIAN_STD = 0.25
"""Standard deviation of the actions of V1 with temporal shift, as a share of the range of possible corners."""


def build_policy(config: AdaFocusConfig, features: int, map_size: tuple[int, int]) -> Policy:
    """Build the policy of a configuration.

    Args:
        config: Configuration of the network.
        features: C, channels of the global feature map.
        map_size: Height and width of the global feature map.
    """
    if config.windows != "learnt":
        return FixedPolicy(config.windows, config.shift)
    channels, width = config.policy_channels, config.policy_width
    if config.shift:
        per_clip = GaussianPolicy if config.version == 1 else ClipPolicy
        return per_clip(features, map_size, config.glance_frames, channels, width)
    if config.version == 1:
        grid = SkippingPolicy if config.skips else GridPolicy
        return grid(features, map_size, channels, width, config.places)
    return SigmoidPolicy(features, map_size, channels, width)


class Policy(nn.Module):
    """Base class of policies; a subclass defines ``encode`` and ``place``."""

    width: int
    """H, size of the hidden state; 0 for policies without one."""

    def encode(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Encode maps (B, T, C, h, w) to features (B, T, F); return them and the new hidden state (B, H)."""
        raise NotImplementedError

    def place(self, features: Tensor) -> Tensor:
        """Return the most probable positions (B, T, 2) for features (B, T, F)."""
        raise NotImplementedError

    def forward(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the most probable positions (B, T, 2) and the new hidden state (B, H)."""
        features, hidden = self.encode(maps, hidden)
        return self.place(features), hidden


class LearntPolicy(Policy):
    """Actor-critic policy; a subclass defines ``distribution`` and ``positions``."""

    critic: nn.Linear

    def distribution(self, features: Tensor) -> Distribution:
        """Return the distribution of actions for features (B, T, F)."""
        raise NotImplementedError

    def positions(self, actions: Tensor) -> Tensor:
        """Convert sampled actions to positions (B, T, 2)."""
        raise NotImplementedError

    def value(self, features: Tensor) -> Tensor:
        """Return the critic's estimate of the return, (B, T)."""
        return self.critic(features).squeeze(-1)


class GridPolicy(LearntPolicy):
    """Policy of V1: choose one position of a square grid for each frame.

    Args:
        features: C, channels of the global feature map.
        map_size: Height and width of the global feature map.
        channels: Channels to which the map is reduced. Default: 32.
        width: H, width of the hidden layers. Default: 1024.
        places: Number of grid positions, one of ``vidcore_adafocus.variants.GRIDS``. Default: 49.

    Raises:
        UserError: ``places`` is not one of the grids.
    """

    grid: Tensor

    def __init__(
        self, features: int, map_size: tuple[int, int], channels: int = 32, width: int = 1024, places: int = 49
    ) -> None:
        super().__init__()
        check_choice("places", places, GRIDS)
        self.width = width
        self.encoder = nn.Sequential(
            nn.Conv2d(features, channels, 1, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels * math.prod(map_size), width),
            nn.ReLU(),
        )
        self.gru = nn.GRU(width, width, batch_first=True)
        self.actor = nn.Linear(width, places)
        self.critic = nn.Linear(width, 1)
        ticks = torch.linspace(0, 1, math.isqrt(places))
        self.register_buffer("grid", torch.cartesian_prod(ticks, ticks), persistent=False)

    def encode(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Policy``."""
        return _recurrent(self.encoder, self.gru, maps, hidden)

    def place(self, features: Tensor) -> Tensor:
        """Return the most probable grid positions (B, T, 2)."""
        return self.positions(self.actor(features).argmax(-1))

    def distribution(self, features: Tensor) -> Distribution:
        """Return the distribution of the index of the grid position."""
        return Categorical(logits=self.actor(features))

    def positions(self, actions: Tensor) -> Tensor:
        """Convert grid indices (B, T), row by row from the upper left, to positions (B, T, 2)."""
        return self.grid[actions]


class PlaceAndFocus(Distribution):
    """Joint distribution of a grid index and of the independent decision to run the focus network.

    Args:
        places: (..., A) logits of the grid positions.
        focus: (...) logits of running the focus network.
    """

    def __init__(self, places: Tensor, focus: Tensor) -> None:
        super().__init__(validate_args=False)
        self.place, self.focus = Categorical(logits=places), Bernoulli(logits=focus)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw actions (..., 2): the grid index, and 0 or 1."""
        shape = torch.Size(sample_shape)
        return torch.stack([self.place.sample(shape), self.focus.sample(shape).long()], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of actions (..., 2)."""
        return self.place.log_prob(value[..., 0]) + self.focus.log_prob(value[..., 1].to(self.focus.logits.dtype))

    def entropy(self) -> Tensor:
        """Return the sum of both entropies."""
        return self.place.entropy() + self.focus.entropy()


class SkippingPolicy(GridPolicy):
    """Policy of V1 that also decides for each frame whether the focus network runs.

    Positions are (B, T, 3): y, x and the probability that the focus network runs. The paper reports such an extension
    (AdaFocus+); its code is not released. Parameters are those of ``GridPolicy``.
    """

    def __init__(
        self, features: int, map_size: tuple[int, int], channels: int = 32, width: int = 1024, places: int = 49
    ) -> None:
        super().__init__(features, map_size, channels, width, places)
        self.look = nn.Linear(width, 1)

    def place(self, features: Tensor) -> Tensor:
        """Return the most probable grid positions and the probability of running the focus network, (B, T, 3)."""
        return torch.cat([super().place(features), torch.sigmoid(self.look(features))], -1)

    def distribution(self, features: Tensor) -> Distribution:
        """Return the joint distribution of the grid index and the decision to run the focus network."""
        return PlaceAndFocus(self.actor(features), self.look(features).squeeze(-1))

    def positions(self, actions: Tensor) -> Tensor:
        """Convert actions (B, T, 2) of index and decision, or indices (B, T) alone, to positions."""
        if actions.dim() == 2:
            return super().positions(actions)
        return torch.cat([super().positions(actions[..., 0]), actions[..., 1:].to(self.grid.dtype)], -1)


class GaussianPolicy(LearntPolicy):
    """Policy of V1 with temporal shift: a continuous position, one per clip.

    Actions are unbounded so that their probabilities are exact; positions are clamped to the frame.

    Args:
        features: C, channels of the global feature map of one frame.
        map_size: Height and width of the global feature map.
        frames: Frames per clip whose maps are encoded together.
        channels: Channels to which the maps are reduced. Default: 64.
        width: H, width of the hidden layers. Default: 1024.
        std: Standard deviation of the actions. Default: 0.25.
    """

    def __init__(
        self,
        features: int,
        map_size: tuple[int, int],
        frames: int,
        channels: int = 64,
        width: int = 1024,
        std: float = GAUSSIAN_STD,
    ) -> None:
        super().__init__()
        self.width, self.std = 0, std
        self.encoder = _encoder(frames * features, map_size, channels, width, nn.ReLU)
        # The official network is recurrent although there is only one decision per clip.
        self.gru = nn.GRU(width, width, batch_first=True)
        self.actor = nn.Linear(width, 2)
        self.critic = nn.Linear(width, 1)

    def encode(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the maps of a clip to features (B, 1, F)."""
        return self.gru(self.encoder(maps.flatten(1, 2))[:, None])[0], hidden

    def place(self, features: Tensor) -> Tensor:
        """Return the mean of the actions, (B, 1, 2)."""
        return torch.sigmoid(self.actor(features))

    def distribution(self, features: Tensor) -> Distribution:
        """Return the normal distribution of y and x."""
        return Independent(Normal(self.place(features), self.std), 1)

    def positions(self, actions: Tensor) -> Tensor:
        """Clamp actions (B, 1, 2) to [0, 1]."""
        return actions.clamp(0, 1)


class SigmoidPolicy(Policy):
    """Policy of V2: a continuous, differentiable position for each frame; parameters as of ``GridPolicy``."""

    def __init__(self, features: int, map_size: tuple[int, int], channels: int = 64, width: int = 2048) -> None:
        super().__init__()
        self.width = width
        self.encoder = _encoder(features, map_size, channels, width, nn.Tanh)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.actor = nn.Linear(width, 2)

    def encode(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Policy``."""
        return _recurrent(self.encoder, self.gru, maps, hidden)

    def place(self, features: Tensor) -> Tensor:
        """Return positions (B, T, 2) from the final layer."""
        return torch.sigmoid(self.actor(features))


class ClipPolicy(Policy):
    """Policy of V2 with temporal shift: one position per clip; parameters as of ``GaussianPolicy``."""

    def __init__(
        self, features: int, map_size: tuple[int, int], frames: int, channels: int = 64, width: int = 1024
    ) -> None:
        super().__init__()
        self.width = 0
        self.encoder = nn.Sequential(
            *_encoder(frames * features, map_size, channels, width, nn.Tanh),
            nn.Linear(width, width // 2),
            nn.BatchNorm1d(width // 2),
            nn.Tanh(),
        )
        self.actor = nn.Linear(width // 2, 2)

    def encode(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the maps of a clip to features (B, 1, F)."""
        return self.encoder(maps.flatten(1, 2))[:, None], hidden

    def place(self, features: Tensor) -> Tensor:
        """Return positions (B, 1, 2) from the final layer."""
        return torch.sigmoid(self.actor(features))


class FixedPolicy(Policy):
    """Input-independent baseline policy.

    Args:
        kind: ``centre``, or drawn in each forward pass: ``random`` (uniform) or ``gaussian`` (around the centre).
        per_clip: Whether all frames of a clip share one position.
    """

    def __init__(self, kind: Windows, per_clip: bool) -> None:
        super().__init__()
        self.width, self.kind, self.per_clip = 0, kind, per_clip

    def forward(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions that depend on the number of maps only, and the hidden state as it is."""
        shape = (len(maps), 1 if self.per_clip else maps.shape[1], 2)
        if self.kind == "random":
            return torch.rand(shape, device=maps.device), hidden
        centre = torch.full(shape, 0.5, device=maps.device)
        if self.kind == "gaussian":
            centre = (centre + GAUSSIAN_STD * torch.randn_like(centre)).clamp(0, 1)
        return centre, hidden


def _encoder(
    features: int, map_size: tuple[int, int], channels: int, width: int, activation: type[nn.Module]
) -> nn.Sequential:
    """Layers from maps (N, ``features``, h, w) to a hidden layer (N, ``width``)."""
    return nn.Sequential(
        nn.Conv2d(features, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        activation(),
        nn.Flatten(),
        nn.Linear(channels * math.prod(map_size), width),
        nn.BatchNorm1d(width),
        activation(),
    )


def _recurrent(encoder: nn.Module, gru: nn.GRU, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Encode each frame's map, then run the GRU over time."""
    features, hidden = gru(encoder(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]), hidden[None])
    return features, hidden[0]
