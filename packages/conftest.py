from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vidcore import plugins
from vidcore.cli import signatures


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """What Lightning writes by default must not land in the repository."""
    monkeypatch.chdir(tmp_path)


class FakePlugins:
    """Writes installed distributions with entry points into a folder on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, distribution: str, entry_points: dict[str, dict[str, str]], modules: dict[str, str]) -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        groups = (
            f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in names.items()) for group, names in entry_points.items()
        )
        (info / "entry_points.txt").write_text("\n".join(groups) + "\n")
        for name, text in modules.items():
            (self.folder / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        signatures._source.cache_clear()  # another test may have had a module of that name
        plugins._scan.cache_clear()


@pytest.fixture
def fake_plugins(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    plugins._scan.cache_clear()
    yield FakePlugins(folder)
    plugins._scan.cache_clear()
