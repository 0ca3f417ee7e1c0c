"""``vid stream``: a file, and a stream that ffmpeg serves."""

from __future__ import annotations

import gc
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import colours
import pytest
import torch
from safetensors.torch import save_file
from small_models import BrightestSpot, ColourSoFar, MeanColour

from vidcore import ClipSpec, Task
from vidcore.cli import main
from vidcore.video.decoder import VideoError
from vidcore_deploy.commands.stream import _render
from vidcore_deploy.decisions import decisions
from vidcore_deploy.sources import Picture, _Rate, connections, newest, pictures
from vidcore_deploy.step import Step

TASK = Task("single_label", ("red", "green", "blue"))
SPEC = ClipSpec(frames=4, size=16, fps=5)


def seeing_red() -> ColourSoFar:
    """The score of a colour is its mean so far."""
    model = ColourSoFar(TASK, clip={"fps": 5})
    with torch.no_grad():
        model.net.weight.copy_(torch.eye(3, 6))
        model.net.bias.zero_()
    return model.eval()


def of(colour: tuple[int, int, int], count: int, first: bool = True, start: float = 0.0) -> Iterator[Picture]:
    for index in range(count):
        frame = torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, 16, 16)
        yield Picture(start + index / 5, frame, first and index == 0, 0)


def softmax(*values: float) -> list[float]:
    return torch.tensor(values, dtype=torch.float).softmax(0).tolist()


def scores(row: dict) -> list[float]:
    return [next(one["score"] for one in row["top"] if one["class"] == name) for name in TASK.classes]


@pytest.fixture
def video(tmp_path):
    return str(colours.write(tmp_path / "red.mp4", (255, 0, 0), 0))


@pytest.fixture
def installed(fake_plugins, monkeypatch, tmp_path):
    module = "PLUGIN_API = 1\nfrom small_models import ColourSoFar, MeanColour\n"
    models = {"sofar": "vid_small:ColourSoFar", "mean": "vid_small:MeanColour"}
    fake_plugins.add("vidcore-small", {"vidcore.models": models}, {"vid_small": module})
    monkeypatch.setenv("VID_PLUGINS", "vidcore-small,vidcore-deploy")
    monkeypatch.chdir(tmp_path)
    save_file(seeing_red().state_dict(), "sofar.safetensors")
    save_file(MeanColour(TASK).state_dict(), "mean.safetensors")
    return ["--model", "sofar", "--weights", "sofar.safetensors", "--classes", "3"]


def test_a_row_says_what_was_decided():
    rows = [row for row, _ in decisions(Step(seeing_red()), [*of((255, 0, 0), 2), *of((0, 255, 0), 2, False, 0.4)])]
    assert [(row["frame"], row["time"]) for row in rows] == [(0, 0.0), (1, 0.2), (2, 0.4), (3, 0.6)]
    assert scores(rows[1]) == pytest.approx(softmax(1, 0, 0), abs=1e-4)
    assert scores(rows[3]) == pytest.approx(softmax(0.5, 0.5, 0), abs=1e-4)
    assert not any(row["smoothed"] for row in rows)


class SpotSoFar(BrightestSpot):
    """A detector that streams; it keeps no state."""

    def init_state(self, batch_size, size):
        return {}

    def step(self, frames, state):
        return self({"inputs": {"rgb": frames}}), state


def test_a_detector_gives_boxes_instead_of_scores(tmp_path):
    model = SpotSoFar(Task("detection", ("spot",))).eval()
    frame = torch.zeros(3, 32, 32, dtype=torch.uint8)
    frame[:, 20, 10] = 255
    (first, _), (second, picture) = decisions(Step(model), [Picture(t, frame, t == 0, 0) for t in (0.0, 0.2)])
    assert first.keys() == {"time", "frame", "detections", "ms", "dropped"}
    assert second["detections"] == [{"frame": 1, "class": "spot", "score": 1.0, "box": [6.0, 16.0, 14.0, 24.0]}]
    _render(str(tmp_path / "seen.mp4"), [(second, picture)], model)
    with av.open(str(tmp_path / "seen.mp4")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    green = (picture[:, :, 1].astype(int) - picture[:, :, 0]) > 100
    assert green[160, 6 * 8 : 6 * 8 + 3].any() and not green[160, : 6 * 8 - 4].any()


def test_a_new_connection_forgets():
    rows = [row for row, _ in decisions(Step(seeing_red()), [*of((255, 0, 0), 3), *of((0, 255, 0), 1, True, 9.0)])]
    assert scores(rows[3]) == pytest.approx(softmax(0, 1, 0), abs=1e-4)


def test_reset_forgets_in_time():
    seen = [*of((255, 0, 0), 5), *of((0, 255, 0), 5, False, 1.0)]
    rows = [row for row, _ in decisions(Step(seeing_red()), seen, reset=1.0)]
    assert scores(rows[4]) == pytest.approx(softmax(1, 0, 0), abs=1e-4)
    assert scores(rows[5]) == pytest.approx(softmax(0, 1, 0), abs=1e-4)


def test_smoothing_is_exponential_in_time():
    seen = [*of((255, 0, 0), 1), *of((0, 255, 0), 1, False, 2.0)]
    rows = [row for row, _ in decisions(Step(seeing_red()), seen, smooth=2.0, reset=1.0)]
    old, new, share = softmax(1, 0, 0), softmax(0, 1, 0), math.exp(-1)
    expected = [share * a + (1 - share) * b for a, b in zip(old, new, strict=True)]
    assert scores(rows[1]) == pytest.approx(expected, abs=1e-4)
    assert rows[1]["smoothed"]


def test_memory_is_flat():
    def tensors() -> int:
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    counts = []
    for row, _ in decisions(Step(seeing_red()), of((9, 9, 9), 2_000)):
        if row["frame"] in (500, 1_999):
            gc.collect()
            counts.append(tensors())
    assert counts[1] <= counts[0]


def test_a_file_is_seen_at_the_models_rate(video):
    seen = list(pictures(video, SPEC, timeout=1, reconnect=0))
    with av.open(video) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert len(seen) == pytest.approx((times[-1] - times[0]) * 5, abs=1.01)
    assert all(0 <= picture.time - index / 5 < 0.15 for index, picture in enumerate(seen))  # the first one due
    assert [picture.first for picture in seen] == [True] + [False] * (len(seen) - 1)
    assert seen[0].frame.shape == (3, 16, 16)
    assert seen[0].frame.dtype == torch.uint8
    everything = list(pictures(video, ClipSpec(size=16, stride=2), timeout=1, reconnect=0))
    assert len(everything) == -(-len(times) // 2)


def test_pictures_are_dropped_while_the_model_is_busy():
    def fast() -> Iterator[Picture]:
        for index, picture in enumerate(of((0, 0, 0), 50)):
            yield picture._replace(time=float(index))
            time.sleep(0.002)

    seen = []
    for picture in newest(fast()):
        seen.append(picture)
        time.sleep(0.02)
    assert seen[0].first
    assert seen[-1].time == 49.0
    assert len(seen) + seen[-1].dropped == 50
    assert seen[-1].dropped > 0


def test_what_the_reader_raises_is_raised():
    def lost() -> Iterator[Picture]:
        yield next(of((0, 0, 0), 1))
        raise VideoError("camera", "unplugged")

    with pytest.raises(VideoError, match="unplugged"):
        list(newest(lost()))


def test_connections_are_made_again(monkeypatch, capsys):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    frame = torch.zeros(3, 4, 4, dtype=torch.uint8)
    tries = iter([2, 0, 0, 1, 0, 0, 0, 0])

    def connect() -> Iterator[torch.Tensor]:
        for _ in range(next(tries)):
            yield frame
        raise VideoError("url", "lost")

    seen = []
    with pytest.raises(VideoError, match="lost"):
        seen.extend(connections("url", connect, reconnect=3))
        seen.append(None)
    assert pauses == [1, 2, 4, 1, 2, 4]
    assert "connecting again (3 of 3)" in capsys.readouterr().err


def test_a_source_that_never_was_is_a_mistake(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))

    def connect() -> Iterator[torch.Tensor]:
        raise VideoError("url", "refused")
        yield

    with pytest.raises(VideoError, match="refused"):
        list(connections("url", connect, reconnect=5))


def test_the_command(installed, video, capsys):
    assert main(["stream", video, *installed, "--render", "seen.mp4"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert rows[-1]["frame"] == len(rows) - 1
    assert rows[0].keys() == {"time", "frame", "top", "smoothed", "gmacs", "ms", "dropped"}
    assert {row["gmacs"] for row in rows} == {6 * 3 / 1e9}
    assert f"vid: {len(rows)} decisions, 0 pictures dropped" in captured.err
    with av.open("seen.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == len(rows)


def player(folder, monkeypatch, script):
    """Puts a program called ffplay, which this machine may lack, in the way of the real one."""
    program = folder / "bin" / "ffplay"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/options\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


def test_a_window(installed, video, capsys, tmp_path, monkeypatch):
    player(tmp_path, monkeypatch, f"trap '' TERM; exec cat > {tmp_path}/seen")
    assert main(["stream", video, *installed, "--render", "window"]) == 0
    rows = capsys.readouterr().out.splitlines()
    width, height = map(int, (tmp_path / "options").read_text().split("-video_size ")[1].split()[0].split("x"))
    assert (tmp_path / "seen").stat().st_size == len(rows) * width * height * 3


def test_closing_the_window_ends_it(installed, video, capsys, tmp_path, monkeypatch):
    player(tmp_path, monkeypatch, "exit 0")
    assert main(["stream", video, *installed, "--render", "window"]) == 0
    assert capsys.readouterr().out


def test_no_player_is_one_line(installed, video, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["stream", video, *installed, "--render", "window"]) == 1
    assert "ffplay" in capsys.readouterr().err


def test_an_engine_decides_as_its_model(installed, video, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert main(["export", "--step", *installed, "--output", "step.onnx"]) == 0
    capsys.readouterr()
    said = []
    for model in (installed, ["--engine", "step.onnx"]):
        assert main(["stream", video, *model]) == 0
        said.append([json.loads(line)["top"] for line in capsys.readouterr().out.splitlines()])
    assert said[0] == said[1]
    assert main(["stream", video, "--engine", "step.onnx", "--weights", "sofar.safetensors"]) == 2
    assert "leave out the others" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("missing.mp4", "no file missing.mp4"),
        ("sofar.safetensors", "sofar.safetensors"),
        ("http://127.0.0.1:9", "refused"),
        ("gopher-of-old://host", "Protocol not found"),
        pytest.param(
            "97", "there is no /dev/video97", marks=pytest.mark.skipif(sys.platform != "linux", reason="v4l2")
        ),
    ],
)
def test_sources_that_are_none(installed, capsys, source, says):
    assert main(["stream", source, *installed]) in (1, 2)
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_what_does_not_stream_is_refused(installed, video, capsys):
    assert main(["stream", video, "--model", "mean", "--weights", "mean.safetensors", "--classes", "3"]) == 1
    assert "this MeanColour does not stream; none of its options changes that" in capsys.readouterr().err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def served(seconds: int, stalls: bool = False) -> tuple[str, subprocess.Popen]:
    """A stream that ffmpeg sends at its own speed to the first who asks, and then ends or sends nothing more."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    url = f"http://127.0.0.1:{free_port()}"
    source = ["-f", "lavfi", "-i", f"testsrc=duration={seconds}:size=64x48:rate=25"]
    server = subprocess.Popen([ffmpeg, "-loglevel", "error", "-re", *source, "-f", "mpegts", "-listen", "1", url])
    if stalls:
        threading.Timer(1.5, server.send_signal, (signal.SIGSTOP,)).start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:  # until it listens; asking would be taken for the one that it serves
        if f":{int(url.rsplit(':', 1)[1]):04X} " in Path("/proc/net/tcp").read_text():
            return url, server
        time.sleep(0.05)
    pytest.fail("ffmpeg does not listen")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for who listens")
def test_a_stream_of_ffmpeg_that_dies(installed, capsys):
    url, server = served(seconds=2)
    try:
        assert main(["stream", url, *installed, "--reconnect", "1", "--model.clip.fps", "5"]) == 1
    finally:
        server.kill()
        server.wait()
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert 3 <= len(rows) + rows[-1]["dropped"] <= 11
    assert f"{url}: it has ended; connecting again (1 of 1)" in captured.err
    assert f"{len(rows)} decisions" in captured.err
    assert "refused" in captured.err.splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for who listens")
def test_a_stream_of_ffmpeg_that_stalls(installed, capsys):
    url, server = served(seconds=60, stalls=True)
    try:
        assert main(["stream", url, *installed, "--reconnect", "0", "--timeout", "3", "--model.clip.fps", "5"]) == 1
    finally:
        server.kill()
        server.wait()
    captured = capsys.readouterr()
    assert captured.out
    assert f"{url}: no picture for 3 s" in captured.err


def test_a_lost_stream_leaves_a_whole_video(installed, monkeypatch, capsys):
    def lost(*_: object) -> Iterator[Picture]:
        yield from of((255, 0, 0), 4)
        raise VideoError("rtsp://camera", "unplugged")

    monkeypatch.setattr("vidcore_deploy.sources.pictures", lost)
    assert main(["stream", "rtsp://camera", *installed, "--render", "seen.mp4"]) == 1
    assert "unplugged" in capsys.readouterr().err
    with av.open("seen.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 4


def test_ctrl_c_while_a_picture_is_drawn_leaves_a_whole_video(installed, monkeypatch, capsys):
    drawn = []

    def draw(frames: torch.Tensor, lines: list[str], trace: object) -> torch.Tensor:
        drawn.append(lines)
        if len(drawn) == 3:
            signal.raise_signal(signal.SIGINT)
        return frames

    monkeypatch.setattr("vidcore.video.render.draw", draw)
    monkeypatch.setattr("vidcore_deploy.sources.pictures", lambda *_: of((255, 0, 0), 1_000))
    assert main(["stream", "rtsp://camera", *installed, "--render", "seen.mp4"]) == 130
    assert len(capsys.readouterr().out.splitlines()) == 3
    with av.open("seen.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


def test_a_clock_that_jumps_back_does_not_stop_the_pictures():
    taken = _Rate(SPEC)
    assert sum(taken(second / 25) for _ in range(3) for second in range(50)) == 30


def test_no_password_is_printed(installed, capsys):
    assert main(["stream", "http://me:secret@127.0.0.1:9/door", *installed]) == 1
    err = capsys.readouterr().err
    assert "http://***@127.0.0.1:9/door" in err
    assert "secret" not in err


def test_a_video_is_not_written_onto_its_source(installed, video, capsys):
    assert main(["stream", video, *installed, "--render", video]) == 2
    assert "is the source itself" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_leaves_a_whole_video(installed, monkeypatch, tmp_path, capsys):
    def endless(*_: object) -> Iterator[Picture]:
        for picture in of((255, 0, 0), 1_000):
            yield picture
            if picture.time > 1:
                raise KeyboardInterrupt

    monkeypatch.setattr("vidcore_deploy.sources.pictures", endless)
    assert main(["stream", "rtsp://camera", *installed, "--render", "seen.mp4"]) == 130
    with av.open("seen.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == len(capsys.readouterr().out.splitlines())
