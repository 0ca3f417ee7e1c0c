from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

HEAVY = ("torch", "lightning", "torchvision", "numpy", "jsonargparse", "rich")


@pytest.mark.parametrize("line", ["--help", "--version", "list", "plugin new 9", "fit --modle x", "completion words x"])
def test_nothing_heavy_is_imported(line):
    program = (
        f"import sys; from vidcore.cli import main; main({line.split()!r}); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_metadata_are_scanned_once_whatever_is_asked(fake_plugins, monkeypatch):
    from vidcore import plugins
    from vidcore.cli import main

    scans = []
    monkeypatch.setattr(plugins, "entry_points", lambda: scans.append(1) or entry_points())
    for line in (["list"], ["--help"], ["fit", "--model", "nobody"], ["completion", "words", "fit", "--model", ""]):
        main(line)
    assert len(scans) == 1
