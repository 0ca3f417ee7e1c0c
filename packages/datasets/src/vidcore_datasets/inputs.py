"""Record of the files that annotations are read from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

State = list[Any] | None
"""Size and modification time of a file or folder, None if it does not exist; or the matches of a glob pattern."""

_inputs: ContextVar[dict[str, State] | None] = ContextVar("_inputs", default=None)


def depends_on(path: Path) -> Path:
    """Report that the annotations depend on a file, folder or glob pattern, which may be missing; return ``path``.

    Call this before reading it.
    """
    inputs = _inputs.get()
    if inputs is not None:
        inputs.setdefault(os.path.abspath(path), state_of(path))  # noqa: PTH100 - resolves no links, drops ..
    return path


@contextmanager
def inputs_recorded() -> Iterator[dict[str, State]]:
    """Collect the paths reported to ``depends_on`` within the block, each with its state at that time."""
    inputs: dict[str, State] = {}
    token = _inputs.set(inputs)
    try:
        yield inputs
    finally:
        _inputs.reset(token)


def state_of(path: str | Path) -> State:
    """Return the current state of a file, a folder or the matches of a glob pattern."""
    path = Path(path)
    if any(character in path.name for character in "*?["):
        return sorted(map(str, path.parent.glob(path.name)))
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]
