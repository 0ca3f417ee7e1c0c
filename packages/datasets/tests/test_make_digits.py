"""Rendered files: written once and completely."""

from __future__ import annotations

import csv
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
    # Tolerance for 4:2:0 chroma and x264, in luma.
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
        # AAC is lossy and delays: compare the loudness of each tenth of a second.
        level = [np.sqrt(np.mean(np.square(part))) for part in drawn[:14400].reshape(9, -1)]
        after = [np.sqrt(np.mean(np.square(part))) for part in heard[:14400].reshape(9, -1)]
        assert np.allclose(level, after, rtol=0.5, atol=0.1)
        assert np.corrcoef(level, after)[0, 1] > 0.5 or np.ptp(level) < 0.1


PROCESSES = """
import multiprocessing, os, signal, sys
from pathlib import Path
from vidcore_datasets import make_digits
from vidcore_datasets.render_digits import DigitOptions

root, counts = Path(sys.argv[1]), {"train": 10, "val": 3, "test": 2}
fork = multiprocessing.get_context("fork")
write, render = make_digits.write_video, make_digits._render
both_are_here, renderings = fork.Barrier(2), fork.Value("i", 0)

def write_and_die(path, *args, **kwargs):
    write(path, *args, **kwargs)
    if path.name == "00004.mp4":
        os.kill(os.getpid(), signal.SIGKILL)

def count_and_render(*args):
    with renderings.get_lock():
        renderings.value += 1
    render(*args)

def make(dies):
    if dies:
        make_digits.write_video = write_and_die
    else:
        make_digits._render = count_and_render
        both_are_here.wait(60)
    folder = make_digits.make_moving_digits(DigitOptions(num_frames=8), counts, root, progress=False)
    assert len(list(folder.rglob("*.mp4"))) == 15

def run(count, dies):
    processes = [fork.Process(target=make, args=(dies,)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    left = sorted(path.name for path in root.iterdir() if path.is_dir())
    print([process.exitcode for process in processes], renderings.value, len(list(root.rglob("*.mp4"))), *left)

run(1, dies=True)
run(2, dies=False)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_killed_in_the_middle_then_two_at_once(made: Path, tmp_path: Path) -> None:
    # In a separate process: a process that has computed with torch must not be forked.
    done = subprocess.run(
        [sys.executable, "-c", PROCESSES, str(tmp_path)], capture_output=True, text=True, timeout=150, check=False
    )
    killed, both = done.stdout.splitlines() or [done.stderr, ""]
    assert killed == f"[-9] 0 5 {made.name}.unfinished", "a half set is never seen under its name"
    assert both == f"[0, 0] 1 15 {made.name}", "one of the two rendered"
    for path in made.rglob("*.mp4"):
        assert np.array_equal(decode(tmp_path / made.name / path.relative_to(made)), decode(path))


def test_interrupted_or_without_its_marker(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(make_digits, "write_video", interrupt)
        make_moving_digits(SMALL, COUNTS, tmp_path, progress=False)
    folder = make_moving_digits(SMALL, COUNTS, tmp_path, progress=False)
    (folder / "options.json").unlink()
    (folder / "train/stray.mp4").touch()
    assert make_moving_digits(SMALL, COUNTS, tmp_path, progress=False) == folder
    assert Counter(path.suffix for path in folder.rglob("*.*")) == Counter(path.suffix for path in made.rglob("*.*"))


def test_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_digits, "cache_folder", lambda: tmp_path / "vidcore")
    folder = make_moving_digits(SMALL, {"train": 1, "val": 0, "test": 0}, progress=False)
    assert folder.parent == tmp_path / "vidcore" / "moving_digits"
