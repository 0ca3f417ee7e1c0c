from __future__ import annotations

import csv
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vidcore.cli import main
from vidcore.tools import check
from vidcore.tools.check import check_file, check_files
from vidcore.video import write_video


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """40 noisy frames of H.264, of some 10 KB each, and sound."""
    path = tmp_path_factory.mktemp("healthy") / "clip.mp4"
    frames = torch.randint(0, 256, (40, 3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    write_video(path, frames, fps=10, audio=torch.sin(torch.arange(64_000) * 0.1), audio_rate=16_000)
    return path


def copy(healthy, path, change):
    data = bytearray(healthy.read_bytes())
    change(data)
    path.write_bytes(data)
    return str(path)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {Path(row["path"]).name: row for row in csv.DictReader(file)}


def test_the_report_names_what_is_broken_and_why(healthy, tmp_path, capsys):
    folder = tmp_path / "clips"
    folder.mkdir()
    copy(healthy, folder / "good ü 1.mp4", lambda data: None)
    copy(healthy, folder / "truncated.mp4", lambda data: data.__delitem__(slice(len(data) // 2, None)))
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is not a video")
    (folder / "notes.txt").write_text("passed over")
    assert main(["data", "check", str(folder), "--num_workers", "2", "--output", "reports/report.csv"]) == 1
    report = rows(tmp_path / "reports" / "report.csv")
    assert {name for name, row in report.items() if row["status"] == "error"} == {
        "truncated.mp4",
        "empty.mp4",
        "text.mp4",
    }
    good = report["good ü 1.mp4"]
    assert good["reason"] == ""
    assert (good["frames"], good["fps"], good["width"], good["height"]) == ("40", "10.0", "96", "64")
    assert (float(good["duration"]), good["audio"]) == (pytest.approx(4, abs=0.1), "aac")
    assert "moov atom not found" in report["truncated.mp4"]["reason"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "4 files: 1 ok, 3 broken" in captured.err


def test_all_is_well(healthy, capsys):
    assert main(["data", "check", str(healthy)]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head == "path,status,reason,frames,fps,width,height,duration,audio,seconds"
    assert row.startswith(f"{healthy},ok,,40,")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("garbage", [random.Random.randbytes, lambda _, count: bytes(count)], ids=["random", "zeros"])
def test_4_kb_of_damage_in_the_middle_are_found(healthy, tmp_path, seed, garbage):
    rng = random.Random(seed)

    def damage(data):
        place = rng.randrange(len(data) // 3, len(data) * 2 // 3)
        data[place : place + 4096] = garbage(rng, 4096)

    assert check_file(copy(healthy, tmp_path / "damaged.mp4", damage)).status == "error"


def test_ffmpeg_is_heard_however_often_it_says_the_same(healthy, tmp_path):
    def damage(data):
        data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)

    path = copy(healthy, tmp_path / "damaged.mp4", damage)
    assert check_file(path).reason == check_file(path).reason != ""
    assert check_file(str(healthy)).reason == ""


def remuxed(healthy, path):
    with av.open(str(healthy)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert check_file(str(path)).status == "ok"
    return path


def test_a_file_that_ends_before_its_header_says_is_truncated(healthy, tmp_path):
    path = remuxed(healthy, tmp_path / "clip.flv")
    data = path.read_bytes()
    end = 13  # cut between two tags: nothing in what is left is wrong
    while end < len(data) // 2:
        end += 11 + int.from_bytes(data[end + 1 : end + 4], "big") + 4
    path.write_bytes(data[:end])
    report = check_file(str(path))
    assert report.reason.startswith("is truncated: its header says 4.")
    assert 15 < report.frames < 25


def test_an_avi_of_fewer_frames_than_its_header_says_is_truncated(tmp_path):
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        for shade in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    assert check_file(str(path)).frames == 40
    data = path.read_bytes()
    place = -1
    for _ in range(20):
        place = data.index(b"00dc", place + 1)
    path.write_bytes(data[:place])
    assert check_file(str(path)).reason.startswith("is truncated: its header says 4.00 s")


def test_what_a_transport_stream_marks_as_damaged_is_damaged(healthy, tmp_path):
    path = remuxed(healthy, tmp_path / "clip.ts")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 // 188 * 188 + 1] |= 0x80  # its error indicator; the picture is as it was
    path.write_bytes(data)
    assert "frames are damaged" in check_file(str(path)).reason


def test_a_file_without_frames(tmp_path):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    assert check_file(str(tmp_path / "sound.wav")).reason == "has no video stream"
    assert check_file(str(tmp_path / "missing.mp4")).reason == "No such file or directory"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_file_that_crashes_the_decoder_costs_only_itself(healthy, tmp_path):
    pipe = tmp_path / "crash.mp4"
    os.mkfifo(pipe)

    def crash():
        with pipe.open("wb"):  # waits until somebody reads it
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGSEGV)

    thread = threading.Thread(target=crash)
    thread.start()
    reports = list(check_files([str(pipe), str(healthy)], workers=1))
    thread.join()
    assert [report.status for report in reports] == ["error", "ok"]
    assert reports[0].reason == "crashed the process that read it (SIGSEGV)"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_file_that_hangs_costs_only_its_time(healthy, tmp_path, monkeypatch):
    pipe = tmp_path / "hang.mp4"
    os.mkfifo(pipe)
    monkeypatch.setattr(check, "_limit", lambda timeout, path: timeout if path == str(pipe) else 60)
    reports = list(check_files([str(pipe), str(healthy)], workers=1, timeout=1))
    assert [report.status for report in reports] == ["error", "ok"]
    assert reports[0].reason == "took longer than 1 s"


def test_large_files_get_more_time(tmp_path):
    with (tmp_path / "large.mp4").open("wb") as file:
        file.truncate(5_000_000)
    assert check._limit(60, str(tmp_path / "large.mp4")) == 65


def test_ctrl_c_keeps_the_rows(healthy, tmp_path, monkeypatch):
    def interrupted(paths, workers, timeout):
        yield check_file(paths[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "check_files", interrupted)
    assert main(["data", "check", str(healthy), "--output", "report.csv"]) == 130
    assert rows(tmp_path / "report.csv")["clip.mp4"]["frames"] == "40"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "vid data has the commands check and prepare"),
        (["chekc", "x"], "vid data has the commands check and prepare"),
        (["check"], "arguments are required: PATH"),
        (["check", "missing.mp4"], "no file missing.mp4"),
        (["check", "."], "no video below ."),
        (["check", __file__, "--num_workers", "0"], "--num_workers must be at least 1, not 0"),
        (["check", __file__, "--timeout", "-1"], "--timeout must be positive, not -1"),
        (["check", __file__, "--worker", "2"], "no option --worker"),
    ],
)
def test_usage_errors(capsys, argv, says):
    assert main(["data", *argv]) == 2
    assert says in capsys.readouterr().err


def test_checking_needs_no_torch(healthy):
    program = (
        "import sys\nfrom vidcore.cli import main\n"
        f"if __name__ == '__main__':\n    assert main(['data', 'check', {str(healthy)!r}]) == 0\n"
        "    assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
