"""What annotations are read from, told by whoever reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

State = list[Any] | None
"""Of a file or folder: size and time of change, None where there is none; of a glob pattern: what matches it."""

_inputs: ContextVar[dict[str, State] | None] = ContextVar("_inputs", default=None)


def depends_on(path: Path) -> Path:
    """Says that annotations depend on a file, a folder or a glob pattern, whether it is there or not; returns it.

    To be called before it is looked at.
    """
    inputs = _inputs.get()
    if inputs is not None:
        inputs.setdefault(os.path.abspath(path), state_of(path))  # noqa: PTH100 - resolves no links, drops ..
    return path


@contextmanager
def inputs_recorded() -> Iterator[dict[str, State]]:
    """What :func:`depends_on` is told within the block, with the state in which it was then."""
    inputs: dict[str, State] = {}
    token = _inputs.set(inputs)
    try:
        yield inputs
    finally:
        _inputs.reset(token)


def state_of(path: str | Path) -> State:
    """The state in which a file, a folder or what matches a pattern is now."""
    path = Path(path)
    if any(character in path.name for character in "*?["):
        return sorted(map(str, path.parent.glob(path.name)))
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]
