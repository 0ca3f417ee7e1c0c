"""The building blocks of AdaFocus: windows, policies that place them, and classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal
from torch.nn import functional as F

from vidcore.errors import UserError
from vidcore.tools.backbones import Backbone, in_pieces
from vidcore_adafocus.variants import GRIDS


class Glance(nn.Module):
    """The network that sees whole frames, made ``size``² first where that is given; it shifts between ``frames``."""

    def __init__(self, backbone: Backbone, size: int | None, frames: int) -> None:
        super().__init__()
        self.backbone, self.size, self.frames = backbone, size, frames
        self.num_features = backbone.num_features

    def forward(self, images: Tensor) -> Tensor:
        """From (N, 3, H, W) to maps (N, C, h, w)."""
        if self.size and images.shape[2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return in_pieces(self.backbone, images.contiguous(memory_format=torch.channels_last), self.frames)


class Focus(nn.Module):
    """The network that sees windows; it shifts between ``frames``."""

    def __init__(self, backbone: Backbone, frames: int) -> None:
        super().__init__()
        self.backbone, self.frames = backbone, frames
        self.num_features = backbone.num_features

    def forward(self, windows: Tensor) -> Tensor:
        """From (N, 3, P, P) to features (N, C)."""
        return in_pieces(self.backbone, windows, self.frames).mean((2, 3))


# Windows.


def corners(positions: Tensor, size: tuple[int, int], patch: int, whole: bool) -> Tensor:
    """The upper left corners of windows.

    Args:
        positions: (..., 2) y and x in [0, 1], as shares of the room that the window has.
        size: Height and width of the frame.
        patch: P, the window's side.
        whole: Whether a corner is a whole pixel, rounded down.

    Returns:
        (..., 2) y and x in pixels.
    """
    y, x = positions.unbind(-1)
    found = torch.stack([y * (size[0] - patch), x * (size[1] - patch)], -1)
    # A sixth of 96 in float32 may be just below 16.
    return torch.floor(found + 1e-3) if whole else found


def windows_of(images: Tensor, corner: Tensor, patch: int) -> Tensor:
    """Cuts a window out of each image, with bilinear interpolation where its corner lies between pixels.

    At unit scale all pixels of a window lie equally far between their neighbours, so that this is two steps of linear
    interpolation between shifted slices. Gradients reach the corner.

    Args:
        images: (N, C, H, W).
        corner: (N, 2) y and x in pixels, from 0 to H - P and W - P.
        patch: P.

    Returns:
        (N, C, P, P).
    """
    base = corner.detach().floor()
    share = (corner - base).to(images.dtype)[:, :, None, None, None]
    offsets = torch.arange(patch + 1, device=images.device)
    # The pixel beyond the last has no part in it: there the corner is a whole number.
    rows = (base[:, 0, None].long() + offsets).clamp(max=images.shape[2] - 1)
    columns = (base[:, 1, None].long() + offsets).clamp(max=images.shape[3] - 1)
    numbers = torch.arange(len(images), device=images.device)
    # Indices apart from each other put what they index first: (N, P + 1, P + 1, C).
    cut = images[numbers[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    cut = torch.lerp(cut[:, :, :-1], cut[:, :, 1:], share[:, 0])
    return torch.lerp(cut[..., :-1], cut[..., 1:], share[:, 1])


Windows = Literal["learnt", "centre", "random", "gaussian"]
"""Who places windows: a policy that is learnt, or one that looks at nothing."""

GAUSSIAN_STD = 0.25
"""Of V1's actions with temporal shift, as a share of the room that a window has."""


# Policies. All take maps (B, T, C, h, w) and what they remember (B, H), and give positions (B, T, 2) in [0, 1].


class Policy(nn.Module):
    """What places windows; a subclass has :meth:`encode` and :meth:`place`."""

    width: int
    """H, of what it remembers of the frames before; 0: nothing."""

    def encode(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """From maps (B, T, C, h, w) to features (B, T, F) and what is remembered then."""
        raise NotImplementedError

    def place(self, features: Tensor) -> Tensor:
        """The best positions (B, T, 2)."""
        raise NotImplementedError

    def forward(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The best positions (B, T, 2), and what is remembered then."""
        features, hidden = self.encode(maps, hidden)
        return self.place(features), hidden


class LearntPolicy(Policy):
    """What is learnt by reinforcement; a subclass has :meth:`distribution` and :meth:`positions`."""

    critic: nn.Linear

    def distribution(self, features: Tensor) -> Distribution:
        """Of actions, one for each of features (B, T, F)."""
        raise NotImplementedError

    def positions(self, actions: Tensor) -> Tensor:
        """From actions to positions (B, T, 2)."""
        raise NotImplementedError

    def value(self, features: Tensor) -> Tensor:
        """The return (B, T) that is expected."""
        return self.critic(features).squeeze(-1)


class GridPolicy(LearntPolicy):
    """V1: one of the places of a square grid, for each frame.

    Args:
        features: C, channels of the map.
        map_size: Its height and width.
        channels: To which it is reduced.
        width: H, of the hidden layers.
        places: A, one of :data:`~vidcore_adafocus.variants.GRIDS`.

    Raises:
        UserError: Another number of places.
    """

    grid: Tensor

    def __init__(
        self, features: int, map_size: tuple[int, int], channels: int = 32, width: int = 1024, places: int = 49
    ) -> None:
        super().__init__()
        if places not in GRIDS:
            raise UserError(f"a grid of {places} places does not fit: it has {', '.join(map(str, GRIDS))} of them")
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
        """See :class:`Policy`."""
        features, hidden = self.gru(self.encoder(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]), hidden[None])
        return features, hidden[0]

    def place(self, features: Tensor) -> Tensor:
        """The most likely places."""
        return self.positions(self.actor(features).argmax(-1))

    def distribution(self, features: Tensor) -> Distribution:
        """Of the number of the place."""
        return Categorical(logits=self.actor(features))

    def positions(self, actions: Tensor) -> Tensor:
        """Row by row from the upper left; the corners of the frame are places."""
        return self.grid[actions]


class PlaceAndLook(Distribution):
    """Of the number of a place and, apart from it, of whether to look there at all.

    Args:
        places: Logits (..., A).
        look: Logits (...).
    """

    def __init__(self, places: Tensor, look: Tensor) -> None:
        super().__init__(validate_args=False)
        self.place, self.look = Categorical(logits=places), Bernoulli(logits=look)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """(..., 2): the number, and 0 or 1."""
        shape = torch.Size(sample_shape)
        return torch.stack([self.place.sample(shape), self.look.sample(shape).long()], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of actions (..., 2)."""
        return self.place.log_prob(value[..., 0]) + self.look.log_prob(value[..., 1].to(self.look.logits.dtype))

    def entropy(self) -> Tensor:
        """Of both."""
        return self.place.entropy() + self.look.entropy()


class SkippingPolicy(GridPolicy):
    """V1's policy with a second decision: whether the focus network looks at a frame at all.

    Its positions (B, T, 3) are y, x and the probability of a look. The authors report such an extension, AdaFocus+, and
    have not released it. Parameters are those of :class:`GridPolicy`.
    """

    def __init__(
        self, features: int, map_size: tuple[int, int], channels: int = 32, width: int = 1024, places: int = 49
    ) -> None:
        super().__init__(features, map_size, channels, width, places)
        self.look = nn.Linear(width, 1)

    def place(self, features: Tensor) -> Tensor:
        """The most likely places, and how likely a look is."""
        return torch.cat([super().place(features), torch.sigmoid(self.look(features))], -1)

    def distribution(self, features: Tensor) -> Distribution:
        """Of the number of the place and the look."""
        return PlaceAndLook(self.actor(features), self.look(features).squeeze(-1))

    def positions(self, actions: Tensor) -> Tensor:
        """See :class:`GridPolicy`; of actions (B, T, 2) with a look of 0 or 1, else of numbers of places alone."""
        if actions.dim() == 2:
            return super().positions(actions)
        return torch.cat([super().positions(actions[..., 0]), actions[..., 1:].to(self.grid.dtype)], -1)


def encoder(
    features: int, map_size: tuple[int, int], channels: int, width: int, activation: type[nn.Module]
) -> nn.Sequential:
    """From maps (N, ``features``, h, w) of that size, reduced to ``channels``, to a hidden layer (N, ``width``)."""
    return nn.Sequential(
        nn.Conv2d(features, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        activation(),
        nn.Flatten(),
        nn.Linear(channels * math.prod(map_size), width),
        nn.BatchNorm1d(width),
        activation(),
    )


class GaussianPolicy(LearntPolicy):
    """V1 with temporal shift: a place anywhere, one for the whole clip.

    Actions are not cut at the borders, so that their probabilities are right; the positions made of them are.

    Args:
        features: C, channels of the map of one frame.
        map_size: Its height and width.
        frames: T, whose maps are looked at together.
        channels: To which they are reduced.
        width: H, of the hidden layers.
        std: Of the actions.
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
        self.encoder = encoder(frames * features, map_size, channels, width, nn.ReLU)
        # The authors' network is recurrent, over the one decision that there is.
        self.gru = nn.GRU(width, width, batch_first=True)
        self.actor = nn.Linear(width, 2)
        self.critic = nn.Linear(width, 1)

    def encode(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Policy`; T of the features is 1."""
        return self.gru(self.encoder(maps.flatten(1, 2))[:, None])[0], hidden

    def place(self, features: Tensor) -> Tensor:
        """The mean."""
        return torch.sigmoid(self.actor(features))

    def distribution(self, features: Tensor) -> Distribution:
        """Of y and x, anywhere."""
        return Independent(Normal(self.place(features), self.std), 1)

    def positions(self, actions: Tensor) -> Tensor:
        """Cut at the borders of the frame."""
        return actions.clamp(0, 1)


class SigmoidPolicy(Policy):
    """V2: a place anywhere for each frame, that gradients pass through; parameters as of :class:`GridPolicy`."""

    def __init__(self, features: int, map_size: tuple[int, int], channels: int = 64, width: int = 2048) -> None:
        super().__init__()
        self.width = width
        self.encoder = encoder(features, map_size, channels, width, nn.Tanh)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.actor = nn.Linear(width, 2)

    def encode(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Policy`."""
        features, hidden = self.gru(self.encoder(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]), hidden[None])
        return features, hidden[0]

    def place(self, features: Tensor) -> Tensor:
        """Where the last layer says."""
        return torch.sigmoid(self.actor(features))


class ClipPolicy(Policy):
    """V2 with temporal shift: one place for the clip; parameters as of :class:`GaussianPolicy`."""

    def __init__(
        self, features: int, map_size: tuple[int, int], frames: int, channels: int = 64, width: int = 1024
    ) -> None:
        super().__init__()
        self.width = 0
        self.encoder = nn.Sequential(
            *encoder(frames * features, map_size, channels, width, nn.Tanh),
            nn.Linear(width, width // 2),
            nn.BatchNorm1d(width // 2),
            nn.Tanh(),
        )
        self.actor = nn.Linear(width // 2, 2)

    def encode(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Policy`; T of the features is 1."""
        return self.encoder(maps.flatten(1, 2))[:, None], hidden

    def place(self, features: Tensor) -> Tensor:
        """Where the last layer says."""
        return torch.sigmoid(self.actor(features))


class FixedPolicy(Policy):
    """What a learnt policy is compared with: it looks at nothing.

    Args:
        kind: ``centre``, or drawn anew in each pass: ``random``, uniformly, or ``gaussian``, around the centre.
        per_clip: One place for all frames of a clip.
    """

    def __init__(self, kind: Windows, per_clip: bool) -> None:
        super().__init__()
        self.width, self.kind, self.per_clip = 0, kind, per_clip

    def forward(self, maps: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Policy`."""
        shape = (len(maps), 1 if self.per_clip else maps.shape[1], 2)
        if self.kind == "random":
            return torch.rand(shape, device=maps.device), hidden
        centre = torch.full(shape, 0.5, device=maps.device)
        if self.kind == "gaussian":
            centre = (centre + GAUSSIAN_STD * torch.randn_like(centre)).clamp(0, 1)
        return centre, hidden


# Classifiers. But for the last, they take features (B, T, F), what they remember (B, W), and how many frames were
# before, of all rows or of each (B,), and give logits (B, T, K) and what they remember then.


class RecurrentHead(nn.Module):
    """V1: a GRU over what was seen so far, and a linear layer after each step.

    Args:
        features: F.
        num_classes: K.
        width: W.
        dropout: Probability before the linear layer.
    """

    def __init__(self, features: int, num_classes: int, width: int = 1024, dropout: float = 0.8) -> None:
        super().__init__()
        self.width = width
        self.gru = nn.GRU(features, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, features: Tensor, hidden: Tensor, seen: int | Tensor) -> tuple[Tensor, Tensor]:
        """See above."""
        hiddens, last = self.gru(features, hidden[None])
        return self.classifier(self.dropout(hiddens)), last[0]

    def instead(self, features: Tensor, others: Tensor) -> Tensor:
        """Logits (B, T, K) that each step alone would have given with ``others`` in place of its ``features``."""
        hiddens, _ = self.gru(features)
        before = F.pad(hiddens[:, :-1], [0, 0, 1, 0]).flatten(0, 1)
        _, last = self.gru(others.flatten(0, 1)[:, None], before[None])
        return self.classifier(last[0].unflatten(0, others.shape[:2]))


class MaxPoolHead(nn.Module):
    """V2: the running maximum of each frame's hidden layer, and a linear layer of each step's own.

    Args:
        features: F.
        num_classes: K.
        frames: T, the number of steps; those after the last have the last one's layer.
        width: W.
        dropout: Probability before the linear layers.
    """

    def __init__(self, features: int, num_classes: int, frames: int, width: int = 4096, dropout: float = 0.2) -> None:
        super().__init__()
        self.width, self.frames = width, frames
        self.hidden = nn.Sequential(nn.Linear(features, width), nn.BatchNorm1d(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(torch.empty(num_classes, frames, width).uniform_(-(width**-0.5), width**-0.5))
        self.bias = nn.Parameter(torch.zeros(num_classes, frames))

    def forward(self, features: Tensor, hidden: Tensor, seen: int | Tensor) -> tuple[Tensor, Tensor]:
        """See above."""
        found = self.hidden(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        # What is pooled is at least 0, so that 0 is nothing seen.
        pooled = torch.maximum(found.cummax(1).values, hidden[:, None])
        if isinstance(seen, int):
            steps = slice(seen, seen + features.shape[1])
            logits = torch.einsum("btw,ktw->btk", self.dropout(pooled), self.weight[:, steps])
            return logits + self.bias[:, steps].T, pooled[:, -1]
        numbers = seen[:, None] + torch.arange(features.shape[1], device=features.device)
        numbers = numbers.clamp(max=self.frames - 1)
        logits = torch.einsum("btw,kbtw->btk", self.dropout(pooled), self.weight[:, numbers])
        return logits + self.bias[:, numbers].permute(1, 2, 0), pooled[:, -1]


class AverageHead(nn.Module):
    """With temporal shift: linear layers of both networks' features, averaged over their frames, and added.

    Args:
        glance: Features of a frame.
        focus: Features of a window.
        num_classes: K.
        dropout: Probability before the linear layers.
    """

    def __init__(self, glance: int, focus: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.glance, self.focus = nn.Linear(glance, num_classes), nn.Linear(focus, num_classes)

    def forward(self, glances: Tensor, focuses: Tensor) -> Tensor:
        """From features (B, T, F) and (B, T', F') to logits (B, K)."""
        return self.of_glances(glances) + self.of_focuses(focuses)

    def of_glances(self, features: Tensor) -> Tensor:
        """The glance network's part; the mean of the frames is the mean of their logits."""
        return self.glance(self.dropout(features).mean(1))

    def of_focuses(self, features: Tensor) -> Tensor:
        """The focus network's part."""
        return self.focus(self.dropout(features).mean(1))
