"""Names of files that are not UTF-8, or nearly the same: every command takes them, and none shares a row."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import sys
from pathlib import Path

import pytest
from colours import COLOURS, write
from small_models import MeanColour
from test_predict import knows_colours, save
from test_robustness import Listed, trainer

from vidcore import Task
from vidcore.batch import id_hash
from vidcore.cli import main
from vidcore.predict.rows import Output
from vidcore.reading.index import SampleIndex
from vidcore.report.callback import Report
from vidcore.sample import Sample
from vidcore.text import is_utf8, printable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")

ALIKE = [
    b"caf\xe9.mp4",
    b"caf\xe8.mp4",
    b"caf\\udce9.mp4",
    b"caf\\\xe9.mp4",
    b"caf\\\\udce9.mp4",
    b"CAF\xe9.mp4",
    "caf\u00e9.mp4".encode(),
    "cafe\u0301.mp4".encode(),
    b"caf?.mp4",
    "caf\ufffd.mp4".encode(),
]


@pytest.fixture
def alike(tmp_path):
    """Videos with such names, and a broken one."""
    folder = tmp_path / os.fsdecode(b"ordn\xe9r")
    folder.mkdir()
    for number, name in enumerate(ALIKE):
        write(folder / os.fsdecode(name), list(COLOURS.values())[number % 3], number)
    (folder / os.fsdecode(b"bad\xe9.mp4")).write_bytes(b"no video")
    return folder


def test_different_names_are_printed_differently():
    letters = ["\\", "\udce9", "u", "udce9", "\\udce9", "é"]
    texts = {"".join(parts) for length in range(5) for parts in itertools.product(letters, repeat=length)}
    assert len(set(map(printable, texts))) == len(texts)
    assert all(map(is_utf8, map(printable, texts)))
    assert printable("C:\\users\\é.mp4") == "C:\\users\\é.mp4"
    assert len(set(map(id_hash, texts))) == len(texts)


def test_training_and_test_with_a_report(alike, tmp_path):
    paths = sorted(alike.iterdir())
    task = Task("single_label", tuple(f"{name}\udce9" for name in COLOURS))
    data = Listed(paths, task=task, max_unreadable=0.5, num_workers=1)
    report = Report(tmp_path / "run", "mean", "listed")
    run = trainer(tmp_path, callbacks=[report])
    model = MeanColour(data.task)
    with pytest.warns(UserWarning, match="unreadable"):
        run.fit(model, data)
    assert "example_1" in (tmp_path / "run" / "report" / "index.html").read_text("utf-8")
    (listed,) = tmp_path.rglob("unreadable_0.csv")
    with listed.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [str(alike / os.fsdecode(b"bad\xe9.mp4"))]
    run.test(model, data, verbose=False)
    assert model.test_metrics.judged[0].shape == (len(ALIKE), 3), "each video counts once"
    assert (tmp_path / "run" / "report" / "confusion.png").is_file()
    again = SampleIndex.of([Sample(path) for path in paths])
    assert again.paths == list(map(str, paths))


@pytest.mark.parametrize("ending", ["jsonl", "parquet", ""])
def test_prediction_has_a_row_for_each(alike, tmp_path, monkeypatch, capfdbinary, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr("vidcore.weights.checkpoint.plugins.load", lambda group, name: MeanColour)
    model = MeanColour(Task("single_label", ("red\udce9", "green", "blue")))
    model.load_state_dict(knows_colours().state_dict())
    checkpoint = save(model, "mean", tmp_path / "mean.ckpt")
    output = ["--output", f"rows.{ending}"] if ending else []
    argv = ["predict", str(alike), "--ckpt_path", checkpoint, "--accelerator", "cpu", "--render", "drawn", *output]
    assert main(argv) == 1
    rows = Output(output[1]).read() if ending else list(map(json.loads, capfdbinary.readouterr().out.splitlines()))
    assert {row["path"] for row in rows} == {printable(str(path)) for path in alike.iterdir()}
    assert (
        len({row["rendered"] for row in rows if "error" not in row}) == len(ALIKE) == len(list(Path("drawn").iterdir()))
    )
    expected = {printable(str(alike / os.fsdecode(name))): number % 3 for number, name in enumerate(ALIKE)}
    for row in rows:
        if "error" not in row:
            assert row["top"][0]["class"] == (r"red\udce9", "green", "blue")[expected[row["path"]]]
    if ending:  # all but the broken one are there
        assert main(argv) == 1
        assert f"{len(ALIKE)} of {len(ALIKE) + 1} videos are in" in capfdbinary.readouterr().err.decode()


def test_data_check_prints_names_as_they_are(alike, capfdbinary, monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", write_through=True)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(
        "vidcore_datasets.checking.check.run_isolated", lambda function, paths, *_: ((p, function(p)) for p in paths)
    )
    assert main(["data", "check", str(alike)]) == 1
    printed = stdout.buffer.getvalue()
    assert all(os.fsencode(alike) + b"/" + name in printed for name in ALIKE)


def test_an_option_that_is_not_utf8_is_one_line(capsys):
    argv = ["fit", "--model", "small_models.MeanColour", "--data", "colours.Colours", "--data.root", "ordn\udce9r"]
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert r"'ordn\udce9r' is not UTF-8, as options must be: name a link to it (ln -s)" in said
