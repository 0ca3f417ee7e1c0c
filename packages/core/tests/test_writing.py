"""Files appear whole or not at all, through no link that somebody has planted, and with the user's permissions."""

from __future__ import annotations

import csv
import errno
import os
import threading
from pathlib import Path

import pytest
import torch

from vidcore import ClipSpec, Weights
from vidcore.cli import main
from vidcore.predict.rows import Output
from vidcore.reading.index import SampleIndex, save_index
from vidcore.report.loggers import _KeepingWriter
from vidcore.sample import Sample
from vidcore.training.checkpoint_io import AtomicCheckpointIO
from vidcore.video.encode import write_video
from vidcore.video.flow import FlowFields
from vidcore.writing import PART, cell, from_cell, replacing, write_whole


def flow(path):
    FlowFields(path.parent, "farneback").compute(0, *torch.zeros(2, 3, 32, 32, dtype=torch.uint8))


def rows(path):
    path.write_bytes(b'{"path": "a.mp4", "gmacs": 1.0}\n')
    Output(str(path)).join(["a.mp4"])


def metrics(path):
    path.write_text("step,loss\n0,1.0\n")
    _KeepingWriter(str(path.parent)).keep(1)


def fetched(path):
    Path("source.pt").write_bytes(b"weights")
    url = Path("source.pt").absolute().as_uri()
    weights = Weights(url, "", ("a", "b"), ClipSpec(frames=1, size=8))
    weights.fetch(path.parent).replace(path)


WRITERS = {
    "whole.bin": lambda path: write_whole(path, b"content"),
    "model.ckpt": lambda path: AtomicCheckpointIO().save_checkpoint({"a": 1}, path),
    "clip.mp4": lambda path: write_video(path, torch.zeros(2, 3, 16, 16, dtype=torch.uint8), 8),
    "index.safetensors": lambda path: save_index(path, {"train": SampleIndex.of([Sample("a", 0)])}, {}),
    "flow_x_00001.jpg": flow,
    "rows.jsonl": rows,
    "metrics.csv": metrics,
    "weights.pt": fetched,
}


def predictable(path):
    """The names that temporary files had."""
    pid, thread = os.getpid(), threading.get_ident()
    return [
        *(f".{path.name}{ending}" for ending in (".part", ".new", ".tmp", f".{pid}.part", f".{pid}.{thread}.part")),
        *(f"{path.name}.part", f"{path.stem}.part", f".{path.stem}.{pid}.part{path.suffix}"),
    ]


@pytest.mark.parametrize("name", WRITERS)
def test_no_planted_link_is_followed(tmp_path, name):
    if name.startswith("flow"):
        pytest.importorskip("cv2")
    victim, folder = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine")
    folder.mkdir()
    planted = [folder / each for each in predictable(folder / name)]
    for link in planted:
        link.symlink_to(victim)
    before = os.umask(0o027)
    try:
        WRITERS[name](folder / name)
    finally:
        os.umask(before)
    assert victim.read_text() == "mine"
    assert not (folder / name).is_symlink()
    assert (folder / name).stat().st_mode & 0o777 == 0o640
    assert all(link.is_symlink() for link in planted)
    left = {file.name for file in folder.iterdir()} - {name, *(link.name for link in planted)}
    assert left <= {"flow_y_00001.jpg", *(each for each in left if each.endswith(".sha256"))}


def test_a_link_at_the_place_itself_is_replaced(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert (tmp_path / "link").read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("bad"), KeyboardInterrupt()])
def test_the_earlier_file_stays_where_writing_fails(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(type(error)) as raised, replacing(path) as part:
        assert part.name == path.name
        part.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    if isinstance(error, OSError):
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, replacing(tmp_path / "a.txt"):
        (tmp_path / "source.txt").read_text()
    assert raised.value.filename == str(tmp_path / "source.txt")


def test_where_nothing_can_be_written_the_error_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, replacing(tmp_path / "nowhere" / "a.txt"):
        pass
    assert raised.value.filename == str(tmp_path / "nowhere" / "a.txt")


def test_long_names_are_written(tmp_path):
    path = tmp_path / ("ä" * 120 + ".txt")
    with replacing(path) as part:
        assert list(tmp_path.glob(f".*{PART}")) == [part.parent]
        part.write_text("x")
    assert path.read_text() == "x"


TEXTS = ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", " =1", "'=1", "''+1", "＝1", "'tis", "a=b", "", "'", "a\nb"]


@pytest.mark.parametrize("text", TEXTS)
def test_cells_begin_no_formula_and_are_read_back(text, tmp_path):
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerow([cell(text), "x"])
    with (tmp_path / "a.csv").open(newline="") as file:
        ((written, _),) = csv.reader(file)
    assert not written.strip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    assert from_cell(written) == text
    assert cell(-1.5) == -1.5


def test_reports_hold_no_formulas_and_are_read_back(capsys):
    Path("=clips").mkdir()
    for name in ("@a.mp4", "+b.mp4", "c.mp4"):
        write_video(Path("=clips", name), torch.zeros(2, 3, 16, 16, dtype=torch.uint8), 8)
    Path("=clips", "-d.mp4").write_bytes(b"no video")
    paths = [f"=clips/{name}" for name in ("@a.mp4", "+b.mp4", "c.mp4", "-d.mp4")]
    workers = ["--num_workers", "1"]
    assert main(["data", "check", *paths, *workers, "--output", "first.csv"]) == 1
    assert main(["data", "stats", *paths, *workers, "--output", "stats"]) == 1
    for table in ("first.csv", "stats/files.csv"):
        with Path(table).open(newline="") as file:
            found = [row["path"] for row in csv.DictReader(file)]
        assert sorted(found) == sorted(f"'{path}" for path in paths)
        assert list(map(from_cell, found)) == paths or table == "first.csv"
    capsys.readouterr()
    assert main(["data", "check", *paths, *workers, "--against", "first.csv", "--output", "second.csv"]) == 1
    assert "compared with first.csv: 4" in capsys.readouterr().err
    assert "changed" not in Path("second.csv").read_text() and "missing" not in Path("second.csv").read_text()
