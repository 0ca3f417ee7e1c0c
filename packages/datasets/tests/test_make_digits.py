"""The rendered files: made once and whole."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from vidcore_datasets import make_digits
from vidcore_datasets.make_digits import make_moving_digits
from vidcore_datasets.render_digits import DigitOptions, draw_clip

SMALL = DigitOptions(num_frames=8)
COUNTS = {"train": 10, "val": 3, "test": 2}


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_moving_digits(SMALL, COUNTS, tmp_path_factory.mktemp("digits"), progress=False)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_files_hold_the_drawn_frames(made: Path) -> None:
    assert sorted(path.relative_to(made).as_posix() for path in made.rglob("*.mp4")) == sorted(
        f"{split}/{index:05d}.mp4" for split, count in COUNTS.items() for index in range(count)
    )
    drawn = draw_clip(SMALL, "val", 2).frames.astype(int)
    seen = decode(made / "val/00002.mp4").astype(int)
    assert seen.shape == drawn.shape
    # What 4:2:0 chroma and x264 leave of it, in luma.
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs((seen - drawn) @ weights).mean() < 4
    with av.open(str(made / "val/00002.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 16) and not container.streams.audio


def test_two_makings_are_equal(made: Path, tmp_path: Path) -> None:
    again = make_moving_digits(SMALL, COUNTS, tmp_path, progress=False)
    assert again.name == made.name
    for path in (path.relative_to(made) for path in made.rglob("*.*")):
        if path.suffix == ".mp4":
            assert np.array_equal(decode(made / path), decode(again / path))
        else:
            assert (made / path).read_bytes() == (again / path).read_bytes()


def test_each_choice_has_its_own_folder(made: Path, tmp_path: Path) -> None:
    counts = {"train": 1, "val": 0, "test": 0}
    choices = [SMALL, DigitOptions(num_frames=8, seed=1), DigitOptions(num_frames=8, blur=0.5)]
    folders = [make_moving_digits(options, counts, tmp_path, progress=False) for options in choices]
    assert len({*folders, tmp_path / made.name}) == 4
    clips = [decode(folder / "train/00000.mp4") for folder in folders]
    assert not np.array_equal(clips[0], clips[1])


def test_nothing_is_made_twice(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_digits, "_render", None)
    assert make_moving_digits(SMALL, COUNTS, made.parent) == made


def test_sound(tmp_path: Path) -> None:
    options = DigitOptions("sound", num_frames=16)
    folder = make_moving_digits(options, {"train": 12, "val": 0, "test": 0}, tmp_path, progress=False)
    segments = rows(folder / "segments.csv")
    assert len(segments) == 48 and {row["telling"] for row in segments} == {"picture", "sound"}
    assert [(row["start"], row["end"]) for row in segments[:4]] == [
        ("0.0", "0.25"),
        ("0.25", "0.5"),
        ("0.5", "0.75"),
        ("0.75", "1.0"),
    ]
    assert len({row["path"]: row["telling"] for row in segments}) == 12
    for index in range(3):
        with av.open(str(folder / f"train/{index:05d}.mp4")) as container:
            stream = container.streams.audio[0]
            assert (stream.codec_context.name, stream.rate, stream.channels) == ("aac", 16_000, 1)
            heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
        drawn = draw_clip(options, "train", index).audio
        assert drawn is not None and abs(len(heard) - len(drawn)) <= 2048
        # AAC delays and rounds: the loudness of each tenth of a second is what it was.
        level = [np.sqrt(np.mean(np.square(part))) for part in drawn[:14400].reshape(9, -1)]
        after = [np.sqrt(np.mean(np.square(part))) for part in heard[:14400].reshape(9, -1)]
        assert np.allclose(level, after, rtol=0.5, atol=0.1)
        assert np.corrcoef(level, after)[0, 1] > 0.5 or np.ptp(level) < 0.1


def run_script(root: Path, before: str = "") -> subprocess.Popen:
    """Makes SMALL in a process of its own, after the statements in ``before``."""
    script = f"""
import os, signal
from vidcore_datasets import make_digits
from vidcore_datasets.render_digits import DigitOptions
{before}
print(make_digits.make_moving_digits(DigitOptions(num_frames=8), {COUNTS!r}, {str(root)!r}))
"""
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_in_the_middle_then_two_at_once(made: Path, tmp_path: Path) -> None:
    kill = """
real = make_digits.write_video
def write_video(path, *args, **kwargs):
    real(path, *args, **kwargs)
    if path.name == "00004.mp4":
        os.kill(os.getpid(), signal.SIGKILL)
make_digits.write_video = write_video
"""
    killed = run_script(tmp_path, kill)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / made.name
    assert not folder.exists(), "a half set is never seen under its name"
    assert len(list(tmp_path.rglob("*.mp4"))) == 5

    # Each notes its making; both are there before either may begin.
    meet = f"""
import pathlib, time
root = pathlib.Path({str(tmp_path)!r})
real = make_digits._render
def render(*args):
    (root / f"rendering-{{os.getpid()}}").touch()
    real(*args)
make_digits._render = render
(root / f"here-{{os.getpid()}}").touch()
while len(list(root.glob("here-*"))) < 2:
    time.sleep(0.01)
"""
    both = [run_script(tmp_path, meet) for _ in range(2)]
    for process in both:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        assert out.strip().endswith(str(folder))
    assert len(list(tmp_path.glob("rendering-*"))) == 1
    for path in made.rglob("*.mp4"):
        assert (folder / path.relative_to(made)).read_bytes() == path.read_bytes()
    assert not list(tmp_path.glob("*.unfinished"))


def test_interrupted_or_without_its_marker(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(make_digits, "write_video", interrupt)
        make_moving_digits(SMALL, COUNTS, tmp_path, progress=False)
    folder = make_moving_digits(SMALL, COUNTS, tmp_path, progress=False)
    os.unlink(folder / "options.json")
    (folder / "train/stray.mp4").touch()
    assert make_moving_digits(SMALL, COUNTS, tmp_path, progress=False) == folder
    assert Counter(path.suffix for path in folder.rglob("*.*")) == Counter(path.suffix for path in made.rglob("*.*"))


def test_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_digits, "user_cache_path", lambda name: tmp_path / name)
    folder = make_moving_digits(SMALL, {"train": 1, "val": 0, "test": 0}, progress=False)
    assert folder.parent == tmp_path / "vidcore" / "moving_digits"
