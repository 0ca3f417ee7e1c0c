"""How networks begin."""

from __future__ import annotations

import math

from torch import Tensor, nn


def variance_scaling_(weight: Tensor, scale: float) -> None:
    """Fills a kernel (out, in, …) with a normal of variance ``scale / fan_in`` that is cut at two deviations.

    Keras's ``VarianceScaling``: with scale 2 He's initialisation, with scale 1 LeCun's.
    """
    # Cutting at two standard deviations narrows the normal to 0.8796 of its own.
    std = math.sqrt(scale / weight[0].numel()) / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def draw_weights(network: nn.Module, scale: float) -> None:
    """Draws convolutions and linear layers by :func:`variance_scaling_`; biases 0, batch normalisations as built."""
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)):
            variance_scaling_(module.weight, scale)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()


def set_bn_momentum(network: nn.Module, momentum: float) -> None:
    """Sets the weight of the newest batch in the running statistics of every batch normalisation."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = momentum
