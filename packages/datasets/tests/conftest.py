"""Fixtures of all data set tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vidcore_datasets import cached_index
from vidcore_datasets.inputs import State


class Looked:
    """Collects the files that Python opens and the folders that it lists."""

    def __init__(self) -> None:
        self.on, self.paths = False, set[str]()
        sys.addaudithook(self.heard)  # permanent: audit hooks cannot be removed

    def heard(self, event: str, arguments: tuple) -> None:
        if self.on and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, os.PathLike)):
            writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if not writes:
                self.paths.add(os.path.abspath(arguments[0]))  # noqa: PTH100 - as depends_on does


LOOKED = Looked()


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Use a temporary cache folder; check that a data set with a cached index reports all files that it reads."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(cached_index, "cache_folder", lambda: folder / "vidcore")
    recorded = cached_index.inputs_recorded
    unsaid: set[str] = set()

    @contextmanager
    def watched() -> Iterator[dict[str, State]]:
        LOOKED.paths.clear()
        with recorded() as inputs:
            LOOKED.on = True
            try:
                yield inputs
            finally:
                LOOKED.on = False
            said = {*inputs, *(str(Path(path).parent) for path in inputs if "*" in path)}
            # Annotations of single frames are reported by folder: there are a million of them.
            frames = {path for path in LOOKED.paths if path.endswith(".xml") and str(Path(path).parent) in said}
            others = (".py", ".pyc", ".so", ".part")
            unsaid.update(path for path in LOOKED.paths - said - frames if not path.endswith(others))

    monkeypatch.setattr(cached_index, "inputs_recorded", watched)
    yield folder
    assert not unsaid, "read, but depends_on() was not told"
