"""Weights that have other names elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from vidcore.errors import UserError


def load_named(net: nn.Module, tensors: Mapping[str, Tensor], name_of: Callable[[str], str], what: str) -> None:
    """Copies tensors that have other names into a network.

    A shape may differ in sizes of 1: a convolution of one pixel there may be linear here, a depthwise one have its 1
    elsewhere, an image no time.

    Args:
        net: Any network.
        tensors: All that it has by name, but for ``num_batches_tracked``; kernels in PyTorch's order.
        name_of: From a name of our state dict to theirs.
        what: Of the tensors, for the error.

    Raises:
        UserError: Missing, unexpected or wrongly shaped ones; the first five are named, and nothing is copied.
    """
    passed = ("num_batches_tracked", "_extra_state")
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith(passed)}
    ours = {name_of(name): name for name in state}
    problems = [f"missing: {name}" for name in ours.keys() - tensors.keys()]
    problems += [f"unexpected: {name}" for name in tensors.keys() - ours.keys()]
    values = {}
    for name in ours.keys() & tensors.keys():
        value, wanted = tensors[name], state[ours[name]].shape
        if [n for n in value.shape if n > 1] == [n for n in wanted if n > 1]:
            value = value.reshape(wanted)
        else:
            problems.append(f"shape: {name} is {tuple(value.shape)} in our order, should be {tuple(wanted)}")
        values[ours[name]] = value
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"{what} do not fit the network: {'; '.join(sorted(problems)[:5])}{more}")
    net.load_state_dict({**net.state_dict(), **values})
