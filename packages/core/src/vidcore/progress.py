"""How far a long run is, told on stderr."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from typing_extensions import Self

SECONDS = 30
"""Between two lines where stderr is no terminal."""


class Progress:
    """A bar where stderr is a terminal, a plain line now and then elsewhere; stdout is left alone.

    Args:
        what: What is counted, as in "12 of 40 videos".
        total: How many there are.
        shown: Whether to say anything.
    """

    def __init__(self, what: str, total: int, shown: bool = True) -> None:
        self.what, self.total, self.shown = what, total, shown
        self.done = 0
        self._said = time.monotonic()
        self._stack = ExitStack()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self.shown and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(elapsed_when_finished=True),
            )
            self._bar = self._stack.enter_context(
                progress.Progress(*columns, console=Console(stderr=True), redirect_stdout=False)
            )
            self._task = self._bar.add_task(self.what, total=self.total)
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()

    def advance(self, count: int = 1) -> None:
        """One more is done, or several."""
        self.done += count
        if not self.shown:
            return
        if self._bar is not None:
            self._bar.advance(self._task, count)
        elif not sys.stderr.isatty() and time.monotonic() - self._said >= SECONDS:
            self._said = time.monotonic()
            print(f"vid: {self.done} of {self.total} {self.what}", file=sys.stderr, flush=True)
