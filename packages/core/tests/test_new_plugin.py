from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidcore.cli import main, new_plugin

EXAMPLE = Path(__file__).parents[3] / "examples" / "third_party_plugin"


def installed(folder: Path, name: str, class_name: str) -> None:
    """What an installer would write beside the sources, so that they are found without one."""
    info = folder / "src" / f"vidcore_{name}-0.1.0.dist-info"
    info.mkdir()
    distribution = new_plugin.distribution(name)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[vidcore.models]\n{name} = vidcore_{name}:{class_name}\n")


def test_it_writes_four_files_that_pass_the_conformance_suite(tmp_path, capsys):
    assert main(["plugin", "new", "my_net"]) == 0
    folder = tmp_path / "vidcore-my-net"
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["README.md", "pyproject.toml", "src/vidcore_my_net/__init__.py", "tests/test_conformance.py"]
    printed = capsys.readouterr().out
    assert printed.endswith('next:\n  cd vidcore-my-net\n  pip install -e ".[test]"\n  python -m pytest\n')
    assert "$" not in "".join((folder / file).read_text() for file in files)

    pyproject = (folder / "pyproject.toml").read_text()
    assert 'name = "vidcore-my-net"' in pyproject
    assert '[project.entry-points."vidcore.models"]\nmy_net = "vidcore_my_net:MyNet"' in pyproject

    installed(folder, "my_net", "MyNet")
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "VID_PLUGINS": "vidcore-my-net"}
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(suite, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert " failed" not in done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= 20


def test_it_writes_where_it_is_told(tmp_path):
    assert main(["plugin", "new", "other", "--path", str(tmp_path / "deep" / "here")]) == 0
    assert (tmp_path / "deep" / "here" / "src" / "vidcore_other" / "__init__.py").is_file()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["plugin"], "required: new, NAME"),
        (["plugin", "new"], "required: NAME"),
        (["plugin", "old", "x"], "new must be one of new, got 'old'"),
        (["plugin", "new", "9lives"], "must match [a-z][a-z0-9_]*, and '9lives' does not"),
        (["plugin", "new", "My-Net"], "must match"),
        (["plugin", "new", "../x"], "must match"),
        (["plugin", "new", "adafocus"], "'adafocus' exists: vidcore-adafocus brings it"),
        (["plugin", "new", "taken"], "'taken' exists: vidcore-taken brings it"),
        (["plugin", "new", "here"], "vidcore-here exists; choose another with --path DIR"),
        (["plugin", "new", "x", "--pat", "y"], "no option --pat; did you mean --path?"),
    ],
)
def test_what_cannot_be_written_is_refused(fake_plugins, tmp_path, capsys, argv, says):
    fake_plugins.add("vidcore-taken", {"vidcore.models": {"taken": "taken_plugin:Model"}}, {})
    (tmp_path / "vidcore-here").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(argv) == 2
    assert says in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the example is in the repository only")
def test_the_example_is_what_it_writes_plus_what_the_tutorial_changes(tmp_path):
    changed = {"src/vidcore_frame_diff/__init__.py", "tests/test_conformance.py"}
    for path in new_plugin.write("frame_diff", tmp_path):
        name = str(path.relative_to(tmp_path))
        same = (EXAMPLE / name).read_text() == path.read_text()
        assert same == (name not in changed), name
