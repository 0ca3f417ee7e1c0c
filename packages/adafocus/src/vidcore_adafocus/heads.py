"""Classifiers.

The recurrent and the max-pooling head take features (B, T, F), a hidden state (B, W) and the number of frames already
processed (an int for all rows, or (B,) int64), and return logits (B, T, K) after each frame and the new hidden state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RecurrentHead(nn.Module):
    """Head of V1: a GRU over the frames and one linear layer for all steps.

    Args:
        features: F, features per frame.
        num_classes: K.
        width: W, size of the hidden state. Default: 1024.
        dropout: Dropout probability before the linear layer. Default: 0.8.
    """

    def __init__(self, features: int, num_classes: int, width: int = 1024, dropout: float = 0.8) -> None:
        super().__init__()
        self.width = width
        self.gru = nn.GRU(features, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, features: Tensor, hidden: Tensor, seen: int | Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, T, K) and the new hidden state (B, W)."""
        hiddens, last = self.gru(features, hidden[None])
        return self.classifier(self.dropout(hiddens)), last[0]

    def counterfactual(self, features: Tensor, others: Tensor) -> Tensor:
        """Return logits (B, T, K) of each step if only that step had ``others`` in place of its ``features``."""
        hiddens, _ = self.gru(features)
        before = F.pad(hiddens[:, :-1], [0, 0, 1, 0]).flatten(0, 1)
        _, last = self.gru(others.flatten(0, 1)[:, None], before[None])
        return self.classifier(last[0].unflatten(0, others.shape[:2]))


class MaxPoolHead(nn.Module):
    """Head of V2: the running maximum of a hidden layer over frames, and a separate linear layer for each step.

    Args:
        features: F, features per frame.
        num_classes: K.
        frames: T, number of steps; later steps use the last step's layer.
        width: W, width of the hidden layer. Default: 4096.
        dropout: Dropout probability before the linear layers. Default: 0.2.
    """

    def __init__(self, features: int, num_classes: int, frames: int, width: int = 4096, dropout: float = 0.2) -> None:
        super().__init__()
        self.width, self.frames = width, frames
        self.hidden = nn.Sequential(nn.Linear(features, width), nn.BatchNorm1d(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(torch.empty(num_classes, frames, width).uniform_(-(width**-0.5), width**-0.5))
        self.bias = nn.Parameter(torch.zeros(num_classes, frames))

    def forward(self, features: Tensor, hidden: Tensor, seen: int | Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, T, K) and the new hidden state (B, W)."""
        activations = self.hidden(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        # Activations are at least 0, so a hidden state of zeros has no effect on the maximum.
        pooled = torch.maximum(activations.cummax(1).values, hidden[:, None])
        if isinstance(seen, int):
            steps = slice(seen, seen + features.shape[1])
            logits = torch.einsum("btw,ktw->btk", self.dropout(pooled), self.weight[:, steps])
            return logits + self.bias[:, steps].T, pooled[:, -1]
        numbers = seen[:, None] + torch.arange(features.shape[1], device=features.device)
        numbers = numbers.clamp(max=self.frames - 1)
        logits = torch.einsum("btw,kbtw->btk", self.dropout(pooled), self.weight[:, numbers])
        return logits + self.bias[:, numbers].permute(1, 2, 0), pooled[:, -1]


class AverageHead(nn.Module):
    """Head of the variants with temporal shift: the sum of a linear layer per network, averaged over its frames.

    Args:
        glance: Features per frame of the glance network.
        focus: Features per frame of the focus network.
        num_classes: K.
        dropout: Dropout probability before the linear layers. Default: 0.5.
    """

    def __init__(self, glance: int, focus: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.glance, self.focus = nn.Linear(glance, num_classes), nn.Linear(focus, num_classes)

    def forward(self, global_features: Tensor, local_features: Tensor) -> Tensor:
        """Return logits (B, K) for features (B, T', F) of the glance and (B, T, F) of the focus network."""
        return self.global_logits(global_features) + self.local_logits(local_features)

    def global_logits(self, features: Tensor) -> Tensor:
        """Return the glance network's logits (B, K); the layer is linear, so features are averaged first."""
        return self.glance(self.dropout(features).mean(1))

    def local_logits(self, features: Tensor) -> Tensor:
        """Return the focus network's logits (B, K)."""
        return self.focus(self.dropout(features).mean(1))
