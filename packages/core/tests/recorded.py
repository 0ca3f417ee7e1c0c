"""Networks with weights that do not depend on torch's generator, to compare with what an earlier version recorded."""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

import numpy as np
import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def filled(net: Net) -> Net:
    """Return the network in float64 and eval mode, with weights that depend on their names only."""
    net = net.double().eval()
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point() and "_threshold" not in name and not name.endswith("_extra_state"):
                seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
                draws = np.random.RandomState(seed).uniform(-1, 1, value.numel()).reshape(tuple(value.shape))
                scale = (3 / max(1, value[0].numel())) ** 0.5 if value.dim() > 1 else 0.1
                offset = 1.0 if name.endswith("running_var") or (value.dim() == 1 and "weight" in name) else 0.0
                value.copy_(torch.from_numpy(np.asarray((0.5 if value.dim() == 0 else offset) + scale * draws)))
    return net


def names(net: nn.Module) -> str:
    """Return the SHA-256 of the names and shapes in the state dict."""
    named = sorted([name, list(value.shape)] for name, value in net.state_dict().items())
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()
