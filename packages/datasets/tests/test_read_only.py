"""Data that may only be read, with a cache that cannot be written to: it works without, or says what to do."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import platformdirs
import pytest
import torch

from vidcore import UserError, files
from vidcore.video import flow
from vidcore_datasets import splits, tables
from vidcore_datasets.csv import read_csv
from vidcore_datasets.folder import read_folder
from vidcore_datasets.moving_digits import MovingDigits


@pytest.fixture
def root(tmp_path):
    for name in ("a", "b"):
        for number in range(4):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name / f"{number}.mp4").touch()
    return tmp_path / "data"


@pytest.fixture(params=["a file in its place", "no home"])
def no_cache(request, tmp_path, monkeypatch):
    """A user's cache that cannot be written to, as root as well."""
    if request.param == "no home":
        monkeypatch.setattr(files, "user_cache_path", lambda name: Path("~/.cache", name))
    else:
        (tmp_path / "cache").write_text("a file where a folder should be")
        monkeypatch.setattr(files, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return request.param


@pytest.fixture
def read_only(root, monkeypatch):
    """Nothing can be written into the data's folder."""
    write = tables.tempfile.mkstemp

    def refuse(*args, dir=None, **kwargs):
        if Path(dir) == root or Path(dir) == root.parent:
            raise OSError(errno.EROFS, "Read-only file system", str(dir))
        return write(*args, dir=dir, **kwargs)

    monkeypatch.setattr(tables.tempfile, "mkstemp", refuse)


def test_splits_are_drawn_all_the_same(root, no_cache, read_only, caplog):
    first, again = read_folder(root), read_folder(root)
    assert {split: len(part) for split, part in first.samples.items()} == {"train": 4, "val": 2, "test": 2}
    assert {split: part.paths for split, part in first.samples.items()} == {
        split: part.paths for split, part in again.samples.items()
    }
    assert "splits.csv cannot be written" in caplog.text
    assert not (root / "splits.csv").exists()


def test_a_csv_file_too(root, no_cache, read_only, caplog):
    lines = [f"{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(root.rglob("*.mp4"))]
    (root / "list.csv").write_text("\n".join(["path,label", *lines]))
    assert len(read_csv(root / "list.csv").samples["train"]) == 4
    assert "list.splits.csv cannot be written" in caplog.text


def test_a_cache_that_can_be_written_to_takes_them(root, tmp_path, monkeypatch, read_only):
    monkeypatch.setattr(files, "user_cache_path", lambda name: tmp_path / "cache" / name)
    read_folder(root)
    assert len(list((tmp_path / "cache").rglob("*.csv"))) == 1
    assert splits.cached_path(root / "splits.csv", "splits").is_file()


def test_moving_digits_say_where_else(no_cache):
    data = MovingDigits(num_train=1, num_val=1, num_test=1)
    with pytest.raises(UserError, match=r"moving_digits cannot be kept.*--data\.root") as caught:
        data.prepare_data()
    assert "\n" not in str(caught.value)


def test_moving_digits_in_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    data = MovingDigits(num_train=1, num_val=1, num_test=1, root=str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"moving_digits cannot be kept in .*file"):
        data.prepare_data()


def test_flow_is_computed_without_the_cache(no_cache, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(flow, "optical_flow", lambda before, after, method: torch.zeros(2, 8, 8))
    flow._say_once.cache_clear()
    frame = torch.zeros(3, 8, 8, dtype=torch.uint8)
    with caplog.at_level(logging.WARNING):
        for name in ("a.mp4", "b.mp4"):
            fields = flow.FlowSource().fields(str(tmp_path / name))
            fields.compute(0, frame, frame)
            assert fields.read(flow.np.array([0])).shape == (1, 2, 8, 8)
    assert caplog.text.count("flow is computed again at each start") == 1
    with pytest.raises(UserError, match="name another folder as flow cache"):
        (tmp_path / "file").touch()
        flow.FlowSource(cache=str(tmp_path / "file")).fields("a.mp4").compute(0, frame, frame)


def test_a_user_without_a_home_folder(monkeypatch):
    def unknown(name):
        raise RuntimeError("could not determine the home directory")

    for answer in (lambda name: Path("~/.cache", name), unknown):
        monkeypatch.setattr(files, "user_cache_path", answer)
        with pytest.raises(FileNotFoundError, match="set HOME or XDG_CACHE_HOME"):
            files.cache_folder()
    monkeypatch.setattr(files, "user_cache_path", platformdirs.user_cache_path)
    assert files.cache_folder().is_absolute()
