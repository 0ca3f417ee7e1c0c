"""Videos of odd kinds, made and decoded by the ``ffmpeg`` command: what it shows is what a decoder must give."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vidcore.clip import ClipSpec
from vidcore.reading.dataset import Sample, VideoDataset
from vidcore.video.audio import Sound, read_audio, read_audio_windows
from vidcore.video.decoder import installed_backends, open_video
from vidcore_datasets.preparing.reencode import reencode
from vidcore_deploy import sources as live

FFMPEG = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-x264-params")
B_FRAMES = (*X264, "keyint=12:bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0")
OPEN_GOPS = (*X264, "keyint=12:bframes=3:b-adapt=0:open-gop=1:scenecut=0")
PLAIN = (*X264, "keyint=12:bframes=0")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=12:bframes=3:b-adapt=0:log-level=none")
ASP = ("-c:v", "mpeg4", "-g", "12", "-bf", "2", "-q:v", "3")
MPEG2 = ("-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "3", "-c:a", "mp2")
NO_DISPLAY_TIMES = ("-bsf:v", "setts=pts=DTS")


def ffmpeg(*arguments: object) -> bytes:
    command = [FFMPEG, "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout


def encode(path: Path, *options: str, seconds: float = 1, size: str = "96x64", tone: int | None = None) -> Path:
    if not path.exists():
        picture = f"testsrc2=size={size}:rate=25:duration={seconds},noise=alls=8:allf=t:all_seed={tone or 1}"
        sound = ("-f", "lavfi", "-i", f"sine={tone}:sample_rate=44100:duration={seconds}") if tone else ()
        ffmpeg("-f", "lavfi", "-i", picture, *sound, *options, path)
    return path


def copy(source: Path, path: Path, *options: str, before: tuple[str, ...] = ()) -> Path:
    ffmpeg(*before, "-i", source, "-c", "copy", *options, path)
    return path


def join(path: Path, *parts: tuple[Path, float, float] | Path) -> Path:
    """Parts one after the other, each whole or from one share of its bytes to another, at any byte."""
    data = b""
    for part in parts:
        source, first, last = part if isinstance(part, tuple) else (part, 0, 1)
        content = source.read_bytes()
        data += content[int(first * len(content)) : int(last * len(content))]
    path.write_bytes(data)
    return path


def ffmpegs(path: Path) -> Tensor:
    """(T, 3, H, W): the frames that the command gives, with one thread, which damaged ones depend on."""
    read = ("-threads", "1", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "rgb24")
    _, width, height, _ = ffmpeg(*read, "-frames:v", "1", "-c:v", "ppm", "-f", "image2pipe", "-").split(maxsplit=3)
    frames = np.frombuffer(ffmpeg(*read, "-f", "rawvideo", "-"), np.uint8).reshape(-1, int(height), int(width), 3)
    return torch.from_numpy(frames.copy()).permute(0, 3, 1, 2)


def assert_same(got: Tensor, expected: Tensor, about: object) -> None:
    assert got.shape == expected.shape, about
    # Two versions of FFmpeg may round differently; neighbouring frames differ by far more.
    assert (got.int() - expected.int()).abs().max() <= 2, about


def check(path: Path) -> None:
    """Frames alone, in any order and together are FFmpeg's, and times begin at 0 and ascend."""
    truth = ffmpegs(path)
    order = random.Random(0).sample(range(len(truth)), len(truth))
    for backend in installed_backends():
        with open_video(path, backend) as video:
            assert video.num_frames == len(truth), backend
            assert 0 <= video.times[0] < 0.05 and (video.times.diff() > 0).all()
            for number in order[:20]:
                assert_same(video.frames([number]), truth[[number]], (backend, number))
        for number in order[:5]:
            with open_video(path, backend) as video:
                assert_same(video.frames([number]), truth[[number]], (backend, number, "alone"))
        with open_video(path, backend) as video:
            assert video.size == tuple(truth.shape[2:])
            assert_same(video.frames(range(len(truth))), truth, (backend, "together"))


# Time stamps that ascend in the order of decoding.


def reordered(folder: Path, name: str) -> Path:
    """A video with B-frames of which the container does not tell when they are shown."""
    path = folder / name
    kind = path.stem.split("_")[0]
    options = {"h264": B_FRAMES, "open": OPEN_GOPS, "hevc": X265, "mpeg4": ASP, "mpeg2": MPEG2}[kind]
    if path.stem.endswith("_copy"):
        return copy(encode(folder / f"{kind}.avi", *options, seconds=2), path)
    if path.stem.endswith("_dts"):
        return copy(encode(folder / f"{kind}.mkv", *options, seconds=2), path, *NO_DISPLAY_TIMES)
    return encode(path, *options, seconds=2)


@pytest.mark.parametrize(
    "name",
    [
        *("h264.avi", "h264_copy.mp4", "h264_copy.mov", "h264_dts.mp4", "h264_dts.mkv"),
        *("open.avi", "open_copy.mp4", "open_dts.mp4", "hevc_dts.mp4"),
        *("mpeg4.avi", "mpeg4_copy.mp4", "mpeg4_dts.mkv", "mpeg2_dts.mov"),
    ],
)
def test_frames_whose_time_stamps_ascend_as_they_are_decoded(tmp_path, name):
    check(reordered(tmp_path, name))


# Recordings joined end to end.


def recordings(folder: Path, ending: str = "ts") -> dict[str, Path]:
    """Two recordings whose time stamps begin alike, and two that begin later."""
    kinds = {"long": (1.5, 440, ""), "short": (1, 880, ""), "near": (1, 660, "2"), "far": (1, 660, "100")}
    video = (*B_FRAMES, "-c:a", "aac") if ending == "ts" else MPEG2
    made = {}
    for name, (seconds, tone, offset) in kinds.items():
        options = (*video, *(("-output_ts_offset", offset) if offset else ()))
        made[name] = encode(folder / f"{name}.{ending}", *options, seconds=seconds, tone=tone)
    return made


@pytest.mark.parametrize("ending", ["ts", "mpg"])
@pytest.mark.parametrize(
    "parts",
    ["short short", "short long", "long short", "short far", "far short", "short near", "near short", "short far long"],
)
def test_frames_and_sound_of_joined_recordings(tmp_path, parts, ending):
    made = recordings(tmp_path, ending)
    names = parts.split()
    path = join(tmp_path / f"joined.{ending}", *(made[name] for name in names))
    check(path)
    sound = read_audio(path, 16_000)
    tones = {"long": 440, "short": 880, "near": 660, "far": 660}
    lengths = [len(read_audio(made[name], 16_000)) for name in names]
    gap = 0 if names[-1] != "near" else len(sound) - sum(lengths)  # what may have been between them was not recorded
    assert len(sound) == pytest.approx(sum(lengths) + gap, abs=160)
    assert Sound(path).length()[1] == pytest.approx(len(sound) / 16_000, abs=0.01)
    first = 0
    for name, length in zip(names, lengths, strict=True):
        first += gap if name == "near" and first else 0
        assert tone_of(sound[first + 1600 : first + length - 1600]) == pytest.approx(tones[name], abs=6)
        first += length
    assert torch.allclose(read_audio(path, 16_000, 0.7, 1.4), sound[11_200:22_400], atol=1e-3)


def tone_of(wave: Tensor) -> float:
    """The strongest frequency in Hz, of sound at 16 kHz."""
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave)), 32_000).abs()
    return float(spectrum.argmax()) / 2


@pytest.mark.parametrize("ending", ["ts", "mpg"])
def test_joined_recordings_that_were_cut(tmp_path, ending):
    made = recordings(tmp_path, ending)
    path = join(tmp_path / f"cut.{ending}", (made["long"], 0, 0.61), (made["short"], 0.3, 1), made["long"])
    check(path)
    assert tone_of(read_audio(path, 16_000)[-16_000:]) == pytest.approx(440, abs=6)


def test_joined_recordings_of_other_sizes_and_without_sound(tmp_path):
    made = recordings(tmp_path)
    large = encode(tmp_path / "large.ts", *PLAIN, "-c:a", "aac", size="128x96", tone=700)
    mute = encode(tmp_path / "mute.ts", *PLAIN)
    path = join(tmp_path / "sizes.ts", made["short"], mute, large)
    check(path)
    sound = read_audio(path, 16_000)
    assert [tone_of(sound[first : first + 8000]) for first in (2000, -12_000)] == pytest.approx([880, 700], abs=6)
    assert sound[20_000:30_000].abs().max() < 0.01


def test_a_stretch_of_joined_recordings_has_frames_and_sound_of_one_time(tmp_path):
    made = recordings(tmp_path)
    path = join(tmp_path / "joined.ts", made["short"], made["long"])
    with open_video(path) as video:
        times, frames = video.times, video.frames(range(video.num_frames))
    spec = ClipSpec(frames=8, size=64, modalities=("rgb", "audio"), audio_rate=16_000, audio_seconds=0.4)
    for start, end, tone in ((0.0, 1.0, 880), (1.1, 2.4, 440)):
        inputs = VideoDataset([Sample(str(path), start=start, end=end)], None, spec)[0]["inputs"]
        for frame in inputs["rgb"][0].transpose(0, 1):
            (number,) = (frames[..., 16:80] == frame).flatten(1).all(1).nonzero().flatten()
            assert start <= times[number] < end
        assert tone_of(inputs["audio"][0, 0]) == pytest.approx(tone, abs=6)
        windows = read_audio_windows(path, spec, start, end)
        assert tone_of(windows[0]) == pytest.approx(tone, abs=6)


# Display matrices.

MATRICES = {
    **{"quarter": (0, 1, -1, 0), "half": (-1, 0, 0, -1), "three_quarters": (0, -1, 1, 0)},
    **{"hflip": (-1, 0, 0, 1), "vflip": (1, 0, 0, -1), "transpose": (0, 1, 1, 0), "transverse": (0, -1, -1, 0)},
    **{
        "askew": (0.866, 0.5, -0.5, 0.866),
        "sheared": (1, 1, 0, 1),
        "hardly": (1, -0.005, 0.005, 1),
        "zero": (0, 0, 0, 0),
        "singular": (1, 0, 0, 0),
    },
    **{"huge": (30_000, 0, 0, -30_000), "tiny": (2**-15, 0, 0, 2**-16)},
}


def with_matrix(source: Path, path: Path, name: str) -> Path:
    """Copy an mp4 with another matrix in its track header."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (int(value * 65_536) for value in MATRICES[name])
    assert data[at : at + 4] == struct.pack(">i", 65_536)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def upright(tmp_path_factory) -> Path:
    return encode(tmp_path_factory.mktemp("upright") / "upright.mp4", *B_FRAMES, seconds=0.8)


@pytest.mark.parametrize("name", MATRICES)
def test_frames_are_turned_and_mirrored_as_ffmpeg_does(upright, tmp_path, name):
    check(with_matrix(upright, tmp_path / "turned.mp4", name))


def test_subsampled_only_across_and_turned_by_a_message_in_the_stream(upright, tmp_path):
    across = encode(tmp_path / "across.mp4", *PLAIN[:-3], "yuv422p", *PLAIN[-2:], seconds=0.5)
    check(with_matrix(across, tmp_path / "turned.mp4", "transpose"))
    message = "h264_metadata=display_orientation=insert:rotate=90:flip=horizontal"
    check(copy(upright, tmp_path / "message.mp4", "-bsf:v", message))


def test_prepared_and_streamed_videos_are_upright(upright, tmp_path, monkeypatch):
    monkeypatch.setattr(live.time, "sleep", lambda seconds: None)
    spec = ClipSpec(size=48, stride=1)
    for name in ("hflip", "vflip", "transpose", "transverse", "quarter"):
        path = with_matrix(upright, tmp_path / f"{name}.mp4", name)
        truth = ffmpegs(path)
        with open_video(path) as video:
            assert reencode(video, str(path), tmp_path / "small.mp4", 64, 12) == len(truth)
        with open_video(tmp_path / "small.mp4") as video:
            small = video.frames(range(video.num_frames))
        assert small.shape == truth.shape
        assert (small.float() - truth.float()).abs().mean() < 8 < (small.flip(3).float() - truth.float()).abs().mean()
        of_file = [picture.frame for picture in live.pictures(str(path), spec, 10, 0)]
        of_url = list(live._decode(f"file://{path}", spec, None, 10))
        assert len(of_file) == len(of_url) == len(truth)
        assert all(map(torch.equal, of_file, of_url))
        assert_same(of_file[3], live.cut(truth[3], spec), name)


def test_prepare_accepts_what_reading_accepts(tmp_path):
    made = recordings(tmp_path)
    joined = join(tmp_path / "joined.ts", made["long"], made["short"])
    for path in (reordered(tmp_path, "h264_dts.mp4"), reordered(tmp_path, "open.avi"), joined):
        with open_video(path) as video:
            times = video.times
            assert reencode(video, str(path), tmp_path / "small.mp4", 64, 12) == len(ffmpegs(path))
        with open_video(tmp_path / "small.mp4") as video:
            assert torch.allclose(video.times, times, atol=1e-3)
            small = video.frames(range(video.num_frames)).float()
        assert (small - ffmpegs(path).float()).abs().mean((1, 2, 3)).max() < 10
    assert tone_of(read_audio(tmp_path / "small.mp4", 16_000, 1.7, 2.3)) == pytest.approx(880, abs=6)


def test_a_joined_recording_behind_a_url_plays_on(tmp_path, monkeypatch):
    made, slept = recordings(tmp_path), []
    path = join(tmp_path / "joined.ts", made["short"], made["far"], made["short"])
    monkeypatch.setattr(live.time, "sleep", slept.append)
    frames = list(live._decode(f"file://{path}", ClipSpec(size=48, fps=5), None, 10))
    assert 14 <= len(frames) <= 17
    assert max(slept) < 4


# Sizes that change, and pixels that are not square.


def resized(folder: Path, name: str, sizes: tuple[str, ...]) -> Path:
    kind = name.split(".")[0]
    fast = ("-g", "12", "-cpu-used", "8", "-deadline", "realtime")
    raw, options = {
        "h264": ("h264", PLAIN),
        "hevc": ("hevc", X265),
        "mpeg4": ("m4v", ASP[:4]),
        "mpeg2": ("m2v", MPEG2[:8]),
        "mjpeg": ("mjpeg", ("-c:v", "mjpeg", "-q:v", "3")),
        "vp8": ("ivf", ("-c:v", "libvpx", *fast)),
        "vp9": ("ivf", ("-c:v", "libvpx-vp9", *fast)),
    }[kind]
    parts = [encode(folder / f"{size}.{raw}", *options, size=size, seconds=0.6) for size in sizes]
    whole = folder / f"whole.{raw}"
    if raw == "ivf":
        head, frames = parts[0].read_bytes()[:32], []
        for part in parts:
            data, at = part.read_bytes(), 32
            while at < len(data):
                length = int.from_bytes(data[at : at + 4], "little")
                frames.append(data[at : at + 4] + struct.pack("<Q", len(frames)) + data[at + 12 : at + 12 + length])
                at += 12 + length
        whole.write_bytes(head + b"".join(frames))
    else:
        join(whole, *parts)
    return copy(whole, folder / name, before=() if raw == "ivf" else ("-r", "25"))


@pytest.mark.parametrize("sizes", [("96x64", "128x96"), ("96x64", "48x40", "128x96"), ("128x96", "64x96")])
@pytest.mark.parametrize(
    "name",
    ["vp8.webm", "vp9.webm", "h264.mp4", "h264.ts", "h264.avi", "hevc.mp4", "mpeg4.avi", "mpeg2.mpg", "mjpeg.mov"],
)
def test_all_frames_have_the_size_of_the_first(tmp_path, name, sizes):
    check(resized(tmp_path, name, sizes))


def test_pixels_that_are_not_square_stay_as_they_are_stored(upright, tmp_path):
    in_stream = encode(tmp_path / "stream.mp4", "-vf", "setsar=4/3", *PLAIN, seconds=0.5)
    in_container = copy(upright, tmp_path / "container.mkv", "-aspect", "3:1")
    for path in (in_stream, in_container, with_matrix(in_stream, tmp_path / "turned.mp4", "quarter")):
        check(path)
        with open_video(path) as video:
            assert sorted(video.size) == [64, 96]
            reencode(video, str(path), tmp_path / "small.mp4", 32, 12)
        with open_video(tmp_path / "small.mp4") as small:
            assert sorted(small.size) == [32, 48]
