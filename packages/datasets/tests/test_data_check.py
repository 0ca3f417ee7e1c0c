from __future__ import annotations

import csv
import hashlib
import multiprocessing
import os
import random
import shutil
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
from PIL import Image

from vidcore.cli import main
from vidcore.files import expand_paths
from vidcore.video import write_video
from vidcore_datasets.checking import check
from vidcore_datasets.checking.check import check_file, check_files, digest
from vidcore_datasets.checking.earlier import match
from vidcore_datasets.checking.structure import broken_structure


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
    assert head == "path,status,reason,frames,fps,width,height,duration,audio,seconds,sha256"
    assert row.startswith(f"{healthy},ok,,40,")
    assert row.endswith(f",{hashlib.sha256(healthy.read_bytes()).hexdigest()}")


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


def written(path, video, audio=None, rate=48_000):
    """Forty noisy frames in any format, and a noisy sound that takes some kilobytes."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as target:
        kind = "yuvj420p" if video == "mjpeg" else "yuv420p"
        stream = target.add_stream(video, rate=10, width=96, height=64, pix_fmt=kind, options={"b": "600000"})
        sound = target.add_stream(audio, rate=rate, layout="mono") if audio else None
        for _ in range(40):
            noise = av.VideoFrame.from_ndarray(rng.integers(0, 255, (64, 96, 3), np.uint8), format="rgb24")
            target.mux(stream.encode(noise.reformat(format=kind)))
        if sound:
            wave = (0.3 * rng.standard_normal((1, 4 * rate))).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            frame.sample_rate = rate
            resampler = av.AudioResampler(sound.codec_context.format, "mono", rate, sound.codec_context.frame_size or 0)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                target.mux(sound.encode(piece))
            target.mux(sound.encode(None))
        target.mux(stream.encode(None))
    assert check_file(str(path)).reason == ""
    return path


FORMATS = [
    ("webm", "libvpx-vp9", "libopus"),
    ("mkv", "libx264", "libmp3lame"),
    ("avi", "mpeg4", "libmp3lame"),
    ("mp4", "libx264", "aac"),
    ("avi", "mjpeg", None),
]


@pytest.mark.parametrize(("ending", "video", "audio"), FORMATS)
def test_4_kb_of_damage_anywhere_are_found(tmp_path, ending, video, audio):
    path = written(tmp_path / f"clip.{ending}", video, audio)
    data, rng = path.read_bytes(), random.Random(0)
    for count in range(10):
        place = rng.randrange(0, len(data) - 4096)
        damaged = bytearray(data)
        damaged[place : place + 4096] = rng.randbytes(4096) if count % 2 else bytes(4096)
        (tmp_path / f"damaged.{ending}").write_bytes(damaged)
        assert check_file(str(tmp_path / f"damaged.{ending}")).status == "error", place


@pytest.mark.parametrize(("ending", "video", "audio"), FORMATS[:4])
@pytest.mark.parametrize("garbage", [random.Random.randbytes, lambda _, count: bytes(count)], ids=["random", "zeros"])
def test_damage_in_the_sound_alone_is_found(tmp_path, ending, video, audio, garbage):
    path = written(tmp_path / f"clip.{ending}", video, audio)
    data, rng, left = bytearray(path.read_bytes()), random.Random(0), 4096
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size and packet.pos]
    for place, size in places[len(places) // 3 :]:
        size = min(size, left)
        data[place : place + size] = garbage(rng, size)
        left -= size
    assert left == 0
    (tmp_path / f"damaged.{ending}").write_bytes(data)
    assert check_file(str(tmp_path / f"damaged.{ending}")).status == "error"


def test_elements_that_do_not_fit_together(tmp_path):
    path = written(tmp_path / "clip.mkv", "libx264", "libmp3lame")
    data = path.read_bytes()
    assert broken_structure(str(path), "matroska,webm") == ""
    assert broken_structure(str(path), "mov,mp4") == "", "no format that is looked at"
    cluster = data.index(bytes.fromhex("1f43b675"))
    for place, value in ((cluster, 0x1E), (cluster + 4, 0x11)):  # another element; another length
        changed = bytearray(data)
        changed[place] = value
        (tmp_path / "changed.mkv").write_bytes(changed)
        assert "do not fit together" in broken_structure(str(tmp_path / "changed.mkv"), "matroska,webm")
    live = data[: cluster + 4] + bytes.fromhex("01ffffffffffffff")  # of unknown length, as streams are recorded
    width = 9 - data[cluster + 4].bit_length()
    segment = data.index(bytes.fromhex("18538067")) + 4
    live = live[:segment] + bytes.fromhex("01ffffffffffffff") + live[segment + 8 :] + data[cluster + 4 + width :]
    (tmp_path / "live.mkv").write_bytes(live)
    assert broken_structure(str(tmp_path / "live.mkv"), "matroska,webm") == ""


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_frames_in_a_folder(tmp_path, ending):
    rng = np.random.default_rng(0)
    for video in ("good", "damaged", "uneven"):
        (tmp_path / "frames" / video).mkdir(parents=True)
        for number in range(4):
            height = 110 if (video, number) == ("uneven", 3) else 100
            picture = Image.fromarray(rng.integers(0, 255, (height, 120, 3), np.uint8))
            picture.save(tmp_path / "frames" / video / f"{number:05d}.{ending}")
    damaged = tmp_path / "frames" / "damaged" / f"00002.{ending}"
    data = bytearray(damaged.read_bytes())
    assert len(data) > 8000
    for garbage in (bytes(4096), random.Random(0).randbytes(4096)):
        data[3000 : 3000 + 4096] = garbage
        damaged.write_bytes(data)
        reason = check_file(str(damaged.parent)).reason
        assert reason.startswith(f"1 of its 4 pictures are broken, the first is 00002.{ending}: ")
    assert main(["data", "check", str(tmp_path / "frames"), "--output", "report.csv", "--num_workers", "1"]) == 1
    report = rows(tmp_path / "report.csv")
    assert {name: row["status"] for name, row in report.items()} == {
        "good": "ok",
        "damaged": "error",
        "uneven": "error",
    }
    assert (report["good"]["frames"], report["good"]["width"], report["good"]["height"]) == ("4", "120", "100")
    assert "is 120 × 110 pixels, others are 120 × 100" in report["uneven"]["reason"]


def test_pictures_beside_videos_are_no_frames(healthy, tmp_path):
    copy(healthy, tmp_path / "clip.mp4", lambda data: None)
    Image.new("RGB", (8, 8)).save(tmp_path / "clip.jpg")
    (tmp_path / "none").mkdir()
    assert expand_paths([str(tmp_path)], frames=True) == [str(tmp_path / "clip.mp4")]
    assert check_file(str(tmp_path / "none")).reason == "has no pictures"


def pictures_written(folder, ending="webp"):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(2):
        noise = Image.fromarray(rng.integers(0, 255, (100, 120, 3), np.uint8))
        noise.save(folder / f"{number:05d}.{ending}", quality=90)


def test_the_digest_is_that_of_sha256sum(healthy, tmp_path):
    assert digest(str(healthy)) == hashlib.sha256(healthy.read_bytes()).hexdigest()
    pictures_written(tmp_path / "frames")
    (tmp_path / "frames" / "notes.txt").write_text("no picture")
    whole = digest(str(tmp_path / "frames"))
    if shutil.which("sha256sum"):
        printed = subprocess.run("sha256sum *.webp", shell=True, cwd=tmp_path / "frames", capture_output=True).stdout
        assert whole == hashlib.sha256(printed).hexdigest()
    (tmp_path / "frames" / "00000.webp").rename(tmp_path / "frames" / "00002.webp")
    assert digest(str(tmp_path / "frames")) not in (whole, "")
    assert digest(str(tmp_path / "missing.mp4")) == ""
    assert check_file(str(tmp_path / "missing.mp4")).sha256 == ""


CHANGED = "its bytes have changed since earlier.csv"


def test_damage_that_decoders_take_for_valid_data_is_found_against_an_earlier_report(tmp_path):
    made, good, rng = tmp_path / "made", tmp_path / "here" / "clips", random.Random(0)
    made.mkdir()
    formats = [(ending, "libx264", "pcm_s16le") for ending in ("mov", "avi", "mkv")] + [("webm", "libvpx-vp9", None)]
    for ending, video, audio in formats:
        path = written(made / f"clip.{ending}", video, audio)
        for number in range(6):
            (good / ending).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, good / ending / f"{number}.{ending}")
    for number in range(6):
        pictures_written(good / "frames" / str(number))
    assert main(["data", "check", str(good), "--output", "earlier.csv"]) == 0

    copied = tmp_path / "cluster" / "data"
    shutil.copytree(good, copied)
    assert main(["data", "check", str(copied), "--against", "earlier.csv", "--output", "same.csv"]) == 0
    assert {row["reason"] for row in rows(tmp_path / "same.csv").values()} == {""}

    for path in [*copied.glob("*/*.*"), *copied.glob("frames/*/00001.webp")]:
        data = bytearray(path.read_bytes())
        place = rng.randrange(0, len(data) - 4096)
        data[place : place + 4096] = rng.randbytes(4096)
        path.write_bytes(data)
    assert main(["data", "check", str(copied), "--output", "alone.csv"]) == 1
    assert main(["data", "check", str(copied), "--against", "earlier.csv", "--output", "report.csv"]) == 1
    alone, report = rows(tmp_path / "alone.csv"), rows(tmp_path / "report.csv")
    assert sum(row["status"] == "ok" for row in alone.values()) > 5, "what decoders do not notice"
    assert len(report) == 30
    for name, row in report.items():
        assert row["status"] == "error"
        assert row["reason"] == (f"{CHANGED}: {alone[name]['reason']}" if alone[name]["reason"] else CHANGED)


def test_files_that_are_missing_and_new_ones(healthy, tmp_path, capsys):
    for name in ("a/1.mp4", "a/2.mp4", "b/3.mp4"):
        (tmp_path / "old" / name).parent.mkdir(parents=True, exist_ok=True)
        copy(healthy, tmp_path / "old" / name, lambda data: None)
    assert main(["data", "check", "old", "--output", "earlier.csv"]) == 0
    shutil.copytree(tmp_path / "old" / "a", tmp_path / "new" / "a")  # the folder b is not copied, and 2 is another one
    (tmp_path / "new" / "a" / "1.mp4").rename(tmp_path / "new" / "a" / "4.mp4")
    capsys.readouterr()
    assert main(["data", "check", str(tmp_path / "new"), "--against", "earlier.csv", "--output", "report.csv"]) == 1
    assert "4 files: 2 ok, 2 broken" in (said := capsys.readouterr().err) and "compared with earlier.csv: 1" in said
    report = rows(tmp_path / "report.csv")
    assert {name: row["status"] for name, row in report.items()} == {
        "1.mp4": "error",
        "2.mp4": "ok",
        "3.mp4": "error",
        "4.mp4": "ok",
    }
    assert report["3.mp4"]["reason"] == "is missing: earlier.csv lists it"
    assert report["3.mp4"]["path"] == str(tmp_path / "new" / "b" / "3.mp4"), "where it would be"
    assert (report["3.mp4"]["frames"], report["3.mp4"]["sha256"]) == ("0", "")
    # That report can be compared with in turn: what was missing has no digest, so that nothing can have changed.
    shutil.copytree(tmp_path / "old" / "b", tmp_path / "new" / "b")
    assert main(["data", "check", "new", "--against", "report.csv", "--output", "again.csv"]) == 1
    again = rows(tmp_path / "again.csv")
    assert [name for name, row in again.items() if row["reason"]] == ["1.mp4"]


@pytest.mark.parametrize(
    ("paths", "earlier", "found", "missing"),
    [
        (["a/1", "b/2"], ["a/1", "b/2"], {"a/1": "a/1", "b/2": "b/2"}, []),
        (["/x/y/a/1", "/x/y/b/1"], ["../d/a/1", "../d/b/1"], {"/x/y/a/1": "../d/a/1", "/x/y/b/1": "../d/b/1"}, []),
        (["/x/1"], ["/y/z/1"], {"/x/1": "/y/z/1"}, []),
        (["/x/train/a/1"], ["d/train/a/1", "d/val/a/1"], {"/x/train/a/1": "d/train/a/1"}, ["/x/val/a/1"]),
        (["/x/a/1", "/x/b/1"], ["/y/b/1"], {"/x/b/1": "/y/b/1"}, []),
        (["/x/a/1"], ["/x/a/1", "/x/a/2", "/x/b/3"], {"/x/a/1": "/x/a/1"}, ["/x/a/2", "/x/b/3"]),
        (["/x/1"], ["/y/2"], {}, ["/x/2"]),
        (["./a/1", "a/1"], ["a/1"], {"./a/1": "a/1", "a/1": "a/1"}, []),
    ],
)
def test_files_are_found_again_in_another_folder(paths, earlier, found, missing):
    of = {path: f"digest of {path}" for path in earlier}
    assert match(paths, of) == ({path: of[then] for path, then in found.items()}, missing)


HEAD = "path,status,reason,frames,fps,width,height,duration,audio,seconds,sha256\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "earlier.csv: No such file or directory"),
        ("", "earlier.csv has no column "),
        ("path,status,reason\na.mp4,ok,\n", "earlier.csv has no column sha256: it must be a report"),
        (f"sha256\n{'a' * 64}\n", "earlier.csv has no column path"),
        (HEAD, "earlier.csv lists no file to compare with"),
        (
            f"{HEAD}a.mp4,ok,,1,,,,,,,{'b' * 63}\n",
            "earlier.csv, line 2: sha256 must be 64 hexadecimal digits, not 'bbb",
        ),
        (f"path,sha256\na.mp4,{'a' * 64}\nb.mp4\n", "earlier.csv, line 3: sha256 must be 64"),
        ("path,sha256\n" + "a" * 200_000, "earlier.csv: field larger than field limit"),
    ],
)
def test_a_bad_earlier_report_is_refused_before_anything_is_decoded(healthy, monkeypatch, capsys, text, says):
    monkeypatch.setattr(check, "check_files", None)
    if text is not None:
        Path("earlier.csv").write_text(text)
    assert main(["data", "check", str(healthy), "--against", "earlier.csv", "--output", "report.csv"]) == 1
    assert says in capsys.readouterr().err
    assert not Path("report.csv").exists()


def test_the_earlier_report_is_not_overwritten(healthy, capsys):
    assert main(["data", "check", str(healthy), "--output", "earlier.csv"]) == 0
    assert main(["data", "check", str(healthy), "--against", "earlier.csv", "--output", "./earlier.csv"]) == 2
    assert "--output would overwrite earlier.csv" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize(
    ("killed_by", "reason"),
    [
        (signal.SIGSEGV, "crashed the process that read it (SIGSEGV)"),
        (
            signal.SIGKILL,
            "was killed (SIGKILL), as the system does when memory runs out: try again with fewer processes",
        ),
    ],
)
def test_a_file_that_crashes_the_decoder_costs_only_itself(healthy, tmp_path, killed_by, reason):
    pipe = tmp_path / "crash.mp4"
    os.mkfifo(pipe)

    def crash():
        with pipe.open("wb"):  # waits until somebody reads it
            for child in multiprocessing.active_children():
                os.kill(child.pid, killed_by)

    thread = threading.Thread(target=crash)
    thread.start()
    reports = list(check_files([str(pipe), str(healthy)], workers=1))
    thread.join()
    assert [report.status for report in reports] == ["error", "ok"]
    assert reason in reports[0].reason


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
        ([], "vid data requires a command: check, prepare or stats"),
        (["mend", "x"], "vid data requires a command: check, prepare or stats"),
        (["check"], "requires PATHs or --data NAME"),
        (["check", "missing.mp4"], "no file missing.mp4"),
        (["check", "."], "no video below ."),
        (["check", __file__, "--num_workers", "0"], "--num_workers must be between 1 and 1024, got 0"),
        (["check", __file__, "--timeout", "-1"], "--timeout must be greater than 0 and at most 1000000, got -1"),
        (["check", __file__, "--worker", "2"], "no option --worker"),
    ],
)
def test_usage_errors(capsys, argv, says):
    assert main(["data", *argv]) == 2
    assert says in capsys.readouterr().err


def test_help_tells_the_commands(capsys):
    assert main(["data", "--help"]) == 0
    said = capsys.readouterr().out
    for name in ("check", "prepare", "stats"):
        assert f"\n  {name} " in said
    for name in ("check", "prepare", "stats"):
        assert main(["data", name, "--help"]) == 0
        assert f"usage: vid data {name} " in capsys.readouterr().out


def test_checking_needs_no_torch(healthy):
    program = (
        "import sys\nfrom vidcore.cli import main\n"
        f"if __name__ == '__main__':\n    assert main(['data', 'check', {str(healthy)!r}]) == 0\n"
        "    assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
