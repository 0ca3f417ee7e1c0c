"""Weight initialisation."""

from __future__ import annotations

import math

from torch import Tensor, nn


def variance_scaling_(weight: Tensor, scale: float) -> None:
    """Fill a weight (out, in, …) from a normal distribution of variance ``scale / fan_in``, truncated at two std.

    Keras's ``VarianceScaling``: scale 2 is He's initialisation, scale 1 LeCun's.
    """
    # Truncation at two standard deviations reduces the standard deviation to 0.8796 of the original.
    std = math.sqrt(scale / weight[0].numel()) / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def draw_weights(network: nn.Module, scale: float) -> None:
    """Initialise convolutions and linear layers with ``variance_scaling_``, biases with 0; reset batch norms."""
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)):
            variance_scaling_(module.weight, scale)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()


def set_bn_momentum(network: nn.Module, momentum: float) -> None:
    """Set the momentum (weight of the newest batch in the running statistics) of every batch normalisation."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = momentum
