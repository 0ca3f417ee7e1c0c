"""Weights that a training starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from vidcore.errors import UserError, naming
from vidcore.weights.published import Weights, other_classifier


def start_weights(
    source: str | Path,
    published: Mapping[str, Weights],
    read: Callable[[str | Path], dict[str, Tensor]],
    ours: Mapping[str, Tensor],
    classes: int,
    model: str,
) -> tuple[dict[str, Tensor], list[str]]:
    """Read the weights that fit a model; a classifier for another number of classes is left out.

    Args:
        source: A name in ``published``, or a file that ``read`` can read.
        published: Published weights by name.
        read: Returns a file's content as a state dict of the model.
        ours: The model's state dict.
        classes: The model's number of classes.
        model: The model's name, for errors.

    Returns:
        The state dict, and the sorted names of the parameters that it leaves out.

    Raises:
        UserError: The file is missing, unreadable, cannot be downloaded, or belongs to another network.
    """
    if str(source) not in published and not Path(source).is_file():
        known = f"published for this network: {', '.join(published)}" if published else "none were published"
        raise UserError(f"no weights at {source}; {known}")
    path = published[str(source)].fetch() if str(source) in published else source
    with naming(source, "cannot load weights from {}"):
        theirs = read(path)
        other = other_classifier(theirs, ours, classes, f"{source} does not fit this {model}")
    return {name: value for name, value in theirs.items() if name not in other}, sorted(other)
