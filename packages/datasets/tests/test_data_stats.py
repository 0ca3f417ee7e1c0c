from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image

from vidcore.cli import main
from vidcore.report import figures
from vidcore.video import write_video
from vidcore_datasets.statistics.stats import class_balance, quantiles, read_header

pytest_plugins = ["running"]


@pytest.fixture
def installed(installed, monkeypatch):
    monkeypatch.setenv("VID_PLUGINS", "vidcore-small,vidcore-datasets")  # the package under test has the command


@pytest.fixture
def clips(tmp_path):
    """Two clips of different length, rate and size, one of them with sound; five frames; a file that is no video."""
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "a.mp4", torch.zeros(20, 3, 48, 64, dtype=torch.uint8), fps=10, audio=torch.zeros(32_000))
    write_video(folder / "b.mp4", torch.zeros(100, 3, 96, 64, dtype=torch.uint8), fps=25)
    (folder / "frames").mkdir()
    for number in range(5):
        Image.new("RGB", (40, 30)).save(folder / "frames" / f"{number}.png")
    (folder / "c.mp4").write_text("no video")
    return folder


def test_headers(clips):
    a, b, frames = (read_header(str(clips / name)) for name in ("a.mp4", "b.mp4", "frames"))
    assert (a.frames, a.fps, a.width, a.height, a.codec, a.audio, a.error) == (20, 10.0, 64, 48, "h264", "aac", "")
    assert (b.frames, b.fps, b.width, b.height, b.duration, b.audio) == (100, 25.0, 64, 96, 4.0, "")
    assert a.bytes == (clips / "a.mp4").stat().st_size
    assert (frames.frames, frames.width, frames.height, frames.codec) == (5, 40, 30, "png")
    assert (frames.fps, frames.duration) == (None, None), "pictures do not tell"
    assert "Invalid data" in read_header(str(clips / "c.mp4")).error
    assert read_header(str(clips / "missing.mp4")).error == "No such file or directory"


def test_of_paths(clips, tmp_path, capsys):
    assert main(["data", "stats", str(clips), "--num_workers", "2", "--output", str(tmp_path / "out" / "stats")]) == 1
    printed = capsys.readouterr()
    assert f"cannot be opened: {clips}/c.mp4: Invalid data" in printed.err
    folder = tmp_path / "out" / "stats"
    stats = json.loads((folder / "stats.json").read_text())["all"]
    assert (stats["files"], stats["unreadable"], stats["with_sound"]) == (4, 1, 1)
    assert stats["hours"] == pytest.approx((2 + 4 + 5 / 30) / 3600, rel=0.05)
    assert stats["fps"] == {"min": 10.0, "5 %": 11.5, "median": 25.0, "95 %": 29.5, "max": 30.0}
    assert stats["short_side"]["median"] == 48
    assert stats["codecs"] == {"h264": 2, "png": 1}
    with (folder / "files.csv").open(newline="") as file:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    assert rows["b.mp4"]["duration"] == "4.0"
    assert rows["c.mp4"]["error"]
    page = (folder / "index.html").read_text()
    for name in ("duration", "fps", "size"):
        assert f'src="{name}.png"' in page
        assert imread(folder / f"{name}.png").std() > 0.01
    assert "classes.png" not in page


@pytest.mark.usefixtures("installed")
def test_of_a_data_set(tmp_path, capsys):
    arguments = ["--data", "colours", "--data.root", "clips", "--data.per_class", "2"]
    assert main(["data", "stats", *arguments, "--output", "stats", "--num_workers", "1"]) == 0
    assert "labels a class" in (printed := capsys.readouterr().out) and "green 2" in printed
    stats = json.loads((tmp_path / "stats" / "stats.json").read_text())
    assert list(stats) == ["train", "val", "test"]
    assert (stats["val"]["samples"], stats["val"]["counts"], stats["val"]["imbalance"]) == (6, [2, 2, 2], 1.0)
    assert 'src="classes.png"' in (tmp_path / "stats" / "index.html").read_text()
    assert main(["data", "check", *arguments, "--output", "report.csv", "--num_workers", "1"]) == 0
    assert len((tmp_path / "report.csv").read_text().splitlines()) == 7


def test_balance():
    labels = np.array([0] * 8 + [2] * 2)
    balance = class_balance(labels, ("a", "b", "c", "d"), some=2)
    assert balance["most"] == {"a": 8, "c": 2}
    assert balance["least"] == {"d": 0, "b": 0}
    assert (balance["imbalance"], balance["without_sample"], balance["classes"]) == (4.0, 2, 4)
    assert balance["counts"] == [8, 0, 2, 0]
    assert class_balance(np.empty(0, np.int64), ("a",))["imbalance"] is None
    assert quantiles([]) == {}
    assert quantiles(range(101))["95 %"] == 95


@pytest.mark.parametrize("number", [3, 400])
def test_figures_of_few_and_many_classes(number):
    counts = {"train": np.arange(number) * 10, "val": np.arange(number)}
    axes = figures.class_counts(counts, [f"class {index}" for index in range(number)]).axes[0]
    if number == 3:
        assert [label.get_text() for label in axes.get_yticklabels()] == ["class 2", "class 1", "class 0"]
        assert [bar.get_width() for bar in axes.patches] == [20, 10, 0, 2, 1, 0]
    else:
        assert list(axes.lines[0].get_ydata()[:2]) == [3990, 3980]


def test_histograms_count_everything():
    axes = figures.histogram({"train": np.array([1.0, 2, 400]), "val": np.array([3.0])}, "seconds").axes[0]
    assert axes.get_xscale() == "log"
    assert [round(float(patch.get_data().values.sum()), 6) for patch in axes.patches[::2]] == [1, 1]
    assert figures.histogram({"train": np.full(3, 30.0)}, "Hz").axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "requires PATHs or --data NAME"),
        (["x.mp4", "--data", "colours"], "requires PATHs or --data NAME"),
        (["missing.mp4"], "no file missing.mp4"),
        ([__file__, "--num_workers", "0"], "--num_workers must be between 1 and 1024, got 0"),
        ([__file__, "--timeout", "0"], "--timeout must be greater than 0 and at most 1000000, got 0"),
        ([__file__, "--output", __file__], "is a file; it must be a folder"),
        (["--data", "nothing"], "no data named 'nothing'"),
        (["--data", "colours", "--data.rot", "x"], "Option 'rot' is not accepted"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_usage_errors(capsys, argv, says):
    assert main(["data", "stats", *argv]) == 2
    assert says in capsys.readouterr().err


def test_headers_need_no_torch(clips):
    program = (
        "import sys\nfrom vidcore.cli import main\n"
        f"if __name__ == '__main__':\n    main(['data', 'stats', {str(clips / 'a.mp4')!r}, '--output', 'stats'])\n"
        "    assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_stream_that_av_writes_is_read_without_its_frame_count(tmp_path):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        for shade in range(20):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="rgb24")))
        target.mux(stream.encode(None))
    header = read_header(str(path))
    assert (header.frames, header.fps, header.codec) == (None, 10.0, "mpeg4")
    assert header.duration == pytest.approx(2, abs=0.11)
