"""Weights of TensorFlow networks: reading their checkpoints, and copying their variables into ours."""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vidcore.errors import UserError, one_line
from vidcore.video.limits import check_archive, check_unpacked
from vidcore.weights.foreign import load_named

_NEEDS_TENSORFLOW = (
    "a TensorFlow checkpoint is read by TensorFlow: pip install tensorflow, or save its variables as .npz"
)


def is_tensorflow(path: str | Path) -> bool:
    """Whether the file's name is one that ``read_variables`` reads."""
    return Path(path).name.endswith((".npz", ".index", ".tar.gz", ".tgz"))


def read_variables(path: str | Path) -> dict[str, np.ndarray]:
    """The variables of a Keras network by name, without ``:0``; nothing in the file is executed.

    Of several that have one name the second is called ``NAME#1``, and so on, in the order of their layers.

    Args:
        path: A checkpoint's ``.index`` file, with its data beside it; a ``.tar.gz`` with both in it; or an ``.npz`` of
            arrays by name, ``numpy.savez(path, **{v.name: v.numpy() for v in model.variables})``.

    Raises:
        UserError: The file is not there, cannot be read or holds nothing of the kind; or it is a checkpoint, and
            TensorFlow is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights at {path}")
    try:
        if path.suffix == ".npz":
            check_archive(path)
            with np.load(path, allow_pickle=False) as arrays:
                return {name.removesuffix(":0"): arrays[name] for name in arrays.files}
        if path.suffix == ".index":
            return _read_checkpoint(path)
        return _read_archive(path)
    except UserError:
        raise
    except Exception as error:  # of TensorFlow's, numpy's and tarfile's there are many kinds
        raise UserError(f"{path} is no TensorFlow weights file: {one_line(error)}") from error


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    with tarfile.open(path) as archive, tempfile.TemporaryDirectory() as folder:
        size = 0
        for member in archive:
            size += member.size
            check_unpacked(size, path.stat().st_size)
            # Only the last part of its name is used, so that nothing is written elsewhere.
            if member.isfile() and re.search(r"\.(index|data-\d+-of-\d+)$", member.name):
                content = archive.extractfile(member)
                Path(folder, Path(member.name).name).write_bytes(content.read() if content else b"")
        found = sorted(Path(folder).glob("*.index"))
        if len(found) != 1:
            raise UserError(f"{path} holds {len(found)} TensorFlow checkpoints, should be one")
        return _read_checkpoint(found[0])


def _read_checkpoint(index: Path) -> dict[str, np.ndarray]:
    try:
        import tensorflow as tf  # type: ignore[import-not-found]
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import (  # type: ignore[import-not-found]
            TrackableObjectGraph,
        )
    except ImportError as error:
        raise UserError(f"{index}: {_NEEDS_TENSORFLOW}") from error

    reader: Any = tf.train.load_checkpoint(str(index.with_suffix("")))
    # The checkpoint's own keys are paths through the model's Python objects; the names stand beside them.
    graph = TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    slots = {slot.slot_variable_node_id for node in graph.nodes for slot in node.slot_variables}
    keys: dict[str, set[str]] = defaultdict(set)
    for number, node in enumerate(graph.nodes):
        for attribute in node.attributes:
            # What does not belong to the model is the optimiser's.
            if number not in slots and attribute.checkpoint_key.startswith("model/"):
                keys[attribute.full_name].add(attribute.checkpoint_key)
    if not keys:
        raise UserError(f"{index} holds no model")
    return {
        f"{name}#{number}" if number else name: reader.get_tensor(key)
        for name, found in keys.items()
        for number, key in enumerate(sorted(found, key=_by_layer))
    }


def _by_layer(key: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]


def load_tensorflow(net: nn.Module, variables: Mapping[str, np.ndarray], name_of: Callable[[str], str]) -> None:
    """Copies the variables of a Keras network into ours.

    Args:
        net: Any network.
        variables: All of the Keras network's variables by name, moving averages included, without ``:0``; kernels in
            TensorFlow's order: sizes, in, out (in = 1 where depthwise).
        name_of: From a name of our state dict to the variable's.

    Raises:
        UserError: Missing, unexpected or wrongly shaped variables; the first five are named, and nothing is copied.
    """
    tensors = {}
    for name, variable in variables.items():
        value = np.asarray(variable)
        if value.ndim >= 2:
            value = np.moveaxis(value, (-1, -2), (0, 1))  # to out, in, sizes
        tensors[name] = torch.tensor(value)
    load_named(net, tensors, name_of, "TensorFlow variables")
