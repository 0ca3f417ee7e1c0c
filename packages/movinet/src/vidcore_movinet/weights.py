"""Weights from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from vidcore.errors import UserError

# From our names to those of the official TensorFlow code, step by step.
_RENAME = (
    (r"^layers\.b(\d+)_l(\d+)\.scale$", r"block\1_layer\2/scale"),
    (r"^layers\.b(\d+)_l(\d+)\.", r"block\1_layer\2/bneck/"),
    (r"^stem\.", "stem/stem/"),
    (r"^project\.", "head/project/"),
    (r"^dense\.", "classifier_head/head/conv3d/"),
    (r"^classifier\.", "classifier_head/classifier/conv3d/"),
    (r"se\.(reduce|expand)\.", r"se/se_\1/conv3d/"),
    (r"skip\.project\.", "skip/skip_project/"),
    (r"\bconv\.", "conv3d/"),
    (r"bn\.weight$", "bn/gamma"),
    (r"bn\.bias$", "bn/beta"),
    (r"bn\.running_mean$", "bn/moving_mean"),
    (r"bn\.running_var$", "bn/moving_variance"),
    (r"weight$", "kernel"),
    (r"\.", "/"),
)


def tensorflow_name(name: str) -> str:
    """The official code's name of what our state dict calls ``name``."""
    for pattern, replacement in _RENAME:
        name = re.sub(pattern, replacement, name)
    return name


def load_tensorflow_variables(net: nn.Module, variables: Mapping[str, np.ndarray]) -> None:
    """Copies the variables of the official TensorFlow MoViNet into ours.

    Args:
        net: The network, e.g. :class:`~vidcore_movinet.network.MoViNet`, of the same variant and number of classes.
        variables: All of the official base network's variables by name, moving averages included, without ``:0``;
            kernels in TensorFlow's order: time, height, width, in, out (in = 1 where depthwise).

    Raises:
        UserError: Missing, unexpected or wrongly shaped variables; all are named, and nothing is copied.
    """
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    ours = {tensorflow_name(name): name for name in state}
    problems = [f"missing: {name}" for name in ours.keys() - variables.keys()]
    problems += [f"unexpected: {name}" for name in variables.keys() - ours.keys()]
    values = {}
    for name in ours.keys() & variables.keys():
        value, wanted = np.asarray(variables[name]), tuple(state[ours[name]].shape)
        if value.ndim == 5:
            value = value.transpose(4, 3, 0, 1, 2)  # to out, in, time, height, width
            if len(wanted) == 2 and value.shape[2:] == (1, 1, 1):  # a linear layer here, a 1×1×1 convolution there
                value = value[:, :, 0, 0, 0]
        if value.shape != wanted:
            problems.append(f"shape: {name} is {value.shape} in our order, should be {wanted}")
        values[ours[name]] = torch.tensor(value)
    if problems:
        raise UserError("TensorFlow variables do not fit the network:\n  " + "\n  ".join(sorted(problems)))
    net.load_state_dict({**net.state_dict(), **values})
