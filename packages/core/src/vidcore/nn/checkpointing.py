"""Activation checkpointing: less memory for more compute."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpointed(module: nn.Module, *inputs: Any) -> Any:
    """Run a module and keep only its inputs; intermediate activations are recomputed in the backward pass.

    Gradients and the running statistics of batch normalisation are unchanged: statistics see each batch once.
    """
    again = functools.partial(_counted, module)
    return checkpoint(module, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), again()))


@contextmanager
def _counted(module: nn.Module) -> Iterator[None]:
    """Do not update running statistics of batch normalisation within the block; they have seen this batch already."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
