from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from vidcore.errors import UserError
from vidcore.files import expand_paths
from vidcore.video.decoder import BACKENDS, VideoError, installed_backends, open_video

MISSING = pytest.mark.skipif(True, reason="not installed")
backends = pytest.mark.parametrize(
    "backend", [pytest.param(b, marks=[] if b in installed_backends() else MISSING) for b in BACKENDS]
)


def picture(number: int, height: int, width: int) -> np.ndarray:
    """A moving gradient with a bright block whose place tells the frame's number."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([(x * 3 + number * 5) % 256, (y * 2 + number * 3) % 256, (x + y + number) % 256], -1)
    image[(number * 7) % (height - 8) :, (number * 11) % (width - 8) :][:8, :8] = 255
    return image.astype(np.uint8)


def make(
    path: Path,
    codec: str,
    count: int = 60,
    size: tuple[int, int] = (64, 80),
    options: dict[str, str] | None = None,
    pts: list[int] | None = None,
    pix_fmt: str = "yuv420p",
    sound_first: bool = False,
    **settings: int,
) -> Path:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16_000, layout="mono") if sound_first else None
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.thread_count = 1
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = (pts[number] if pts else number), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            wave = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
            wave.sample_rate = 16_000
            container.mux(sound.encode(wave))
            container.mux(sound.encode(None))
    return path


def rotate(source: Path, target: Path, quarter_turns: int) -> Path:
    """Copy an mp4, writing a rotation into its track header's matrix."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, five 32-bit fields, 16 bytes
    one = 1 << 16
    a, b = [(one, 0), (0, one), (-one, 0), (0, -one)][quarter_turns]
    values = (a, b, 0, -b, a, 0)
    for number, value in enumerate(values):
        data[at + 4 * number : at + 4 * number + 4] = value.to_bytes(4, "big", signed=True)
    target.write_bytes(data)
    return target


def sequential(path: Path, turns: int = 0) -> torch.Tensor:
    """All frames by PyAV alone, decoded from the start, converted by FFmpeg's scale filter."""
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        nodes = graph.add_buffer(template=stream, time_base=stream.time_base), graph.add("scale", "flags=bicubic")
        graph.link_nodes(*nodes, graph.add("format", "rgb24"), graph.add("buffersink")).configure()
        for frame in container.decode(stream):
            graph.push(frame)
            frames.append(np.rot90(graph.pull().to_ndarray(), turns))
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


def x264(parameters: str = "", **settings) -> tuple[str, dict]:
    params = "bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0"
    options = {"preset": "ultrafast", "x264-params": f"{params}:{parameters}"}
    return "libx264", {"options": options, "gop_size": 12, **settings}


X264 = x264()[1]["options"]
X265 = {"preset": "ultrafast", "x265-params": "open-gop=1:bframes=3:log-level=none"}
VPX = {"deadline": "good", "cpu-used": "5", "lag-in-frames": "16", "auto-alt-ref": "1", "arnr-maxframes": "5"}
VFR = [0, 1, 2, 5, 6, 20, 21, 22, 30, 31, *range(40, 140, 2)]
CLIPS = {
    "long_gop.mp4": x264(gop_size=250),
    "short_gop.mp4": x264(),
    "short_gop.mkv": x264(),
    "short_gop.ts": x264(),
    "open_gop.mp4": x264("open-gop=1"),
    "open_gop.mkv": x264("open-gop=1"),
    "refresh.mkv": x264("intra-refresh=1:bframes=0"),
    "intra.mp4": x264(gop_size=1),
    "fields.mp4": x264("tff=1"),
    "vfr.mp4": x264(pts=VFR),
    "odd.mp4": x264(size=(35, 37), pix_fmt="yuv444p"),
    "ten_bit.mp4": x264(pix_fmt="yuv420p10le"),
    "one.mp4": x264(count=1),
    "sound.mp4": x264(sound_first=True),
    "hevc_open.mp4": ("libx265", {"options": X265, "gop_size": 12}),
    "plain.avi": ("mpeg4", {"gop_size": 12}),
    "b_frames.avi": ("mpeg4", {"gop_size": 12, "max_b_frames": 2}),
    "b_frames.mp4": ("mpeg4", {"gop_size": 12, "max_b_frames": 2}),
    "b_frames.mpg": ("mpeg2video", {"gop_size": 12, "max_b_frames": 2}),
    "vp9.webm": ("libvpx-vp9", {"options": VPX, "gop_size": 20}),
    "vp8.webm": ("libvpx", {"options": VPX, "gop_size": 20}),
    "odd.mkv": ("ffv1", {"size": (35, 37), "count": 20}),
}


@pytest.fixture(scope="session", params=CLIPS)
def clip(request, tmp_path_factory) -> tuple[Path, torch.Tensor]:
    codec, settings = CLIPS[request.param]
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path = make(tmp_path_factory.mktemp("clips") / request.param, codec, **settings)
    return path, sequential(path)


@backends
def test_random_access_equals_sequential_decode(clip, backend: str) -> None:
    path, truth = clip
    if path.name == "refresh.mkv" and backend != "pyav":
        pytest.skip("torchcodec and decord seek to where an intra refresh begins")
    rng = random.Random(0)
    count = len(truth)
    lists = [[0], [count - 1], [count - 1, 0, count // 2, 0], list(range(count))]
    lists += [sorted(rng.choices(range(count), k=8)) for _ in range(4)]
    lists += [rng.choices(range(count), k=3) for _ in range(4)]
    with open_video(path, backend) as video:
        assert video.num_frames == count
        assert video.size == tuple(truth.shape[2:])
        for indices in lists:
            frames = video.frames(indices)
            assert frames.dtype == torch.uint8
            assert torch.equal(frames, truth[indices]), indices
    for indices in lists[-2:]:  # the first access of a decoder starts elsewhere than a later one
        with open_video(path, backend) as video:
            assert torch.equal(video.frames(indices), truth[indices]), indices


def test_frames_show_what_was_encoded(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", "libx264", options={**X264, "crf": "5"}, pix_fmt="yuv444p", gop_size=12)
    with open_video(path) as video:
        for number in (0, 31, 59):
            seen = video.frames([number])[0].permute(1, 2, 0).numpy().astype(int)
            assert abs(seen - picture(number, 64, 80)).mean() < 4


@backends
def test_times_and_rate(tmp_path: Path, backend: str) -> None:
    with open_video(make(tmp_path / "vfr.mp4", "libx264", options=X264, pts=VFR), backend) as video:
        assert video.times.dtype == torch.float64
        assert video.times.tolist() == pytest.approx([p / 25 for p in VFR], abs=1e-6)
        assert video.fps == pytest.approx(60 / (140 / 25), rel=0.03)
    with open_video(make(tmp_path / "even.avi", "mpeg4", count=10), backend) as video:
        assert video.fps == 25
        assert video.times.tolist() == pytest.approx([i / 25 for i in range(10)])


@backends
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotated_video_is_upright(tmp_path: Path, backend: str, turns: int) -> None:
    plain = make(tmp_path / "plain.mp4", "libx264", count=5, options=X264)
    path = rotate(plain, tmp_path / "rotated.mp4", turns)
    # The matrix turns clockwise, rot90 the other way.
    truth = sequential(plain, -turns)
    with open_video(path, backend) as video:
        assert video.size == tuple(truth.shape[2:])
        assert torch.equal(video.frames([4, 0]), truth[[4, 0]])


@backends
def test_no_frames_and_indices_out_of_range(tmp_path: Path, backend: str) -> None:
    with open_video(make(tmp_path / "a.mp4", "libx264", count=10, options=X264), backend) as video:
        assert video.frames([]).shape == (0, 3, 64, 80)
        for index in (10, -1):
            with pytest.raises(VideoError, match=rf"a\.mp4.*{index}.*10 frames"):
                video.frames([0, index])
        assert video.frames([np.int64(3), torch.tensor(4)]).shape[0] == 2


@backends
def test_what_is_no_video_is_named(tmp_path: Path, backend: str) -> None:
    empty, text, sound = tmp_path / "empty.mp4", tmp_path / "text.mp4", tmp_path / "sound.m4a"
    empty.touch()
    text.write_text("label,path\n" * 500)
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    no_index = tmp_path / "no_index.mp4"  # the index of an mp4 is its last part
    whole = make(tmp_path / "whole.mp4", "libx264", options=X264).read_bytes()
    no_index.write_bytes(whole[: len(whole) // 2])
    for path in (empty, text, sound, no_index, tmp_path / "missing.mp4"):
        with pytest.raises(VideoError, match=path.name):
            open_video(path, backend)


@backends
@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4", "cut.avi"])
def test_truncated_file_has_the_frames_that_are_there(tmp_path: Path, backend: str, name: str) -> None:
    options, codec = (X264, "libx264") if not name.endswith("avi") else ({}, "mpeg4")
    if name.endswith("mp4"):
        options = {**options, "movflags": "faststart"}
    path = tmp_path / name
    with av.open(str(path), "w", options={"movflags": "faststart"} if name.endswith("mp4") else {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 64, 80, "yuv420p"
        for number in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, 64, 80), format="rgb24")))
        container.mux(stream.encode(None))
    whole = sequential(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with open_video(path, backend) as video:
        assert 5 < video.num_frames < 60
        assert torch.equal(video.frames(range(5)), whole[:5])
        # Frames near the cut may be there or not, but an error must say so.
        try:
            video.frames([video.num_frames - 1])
        except VideoError as error:
            assert name in str(error)


def test_damage_inside_ends_the_video(tmp_path: Path) -> None:
    path = make(tmp_path / "damaged.mkv", "libx264", options=X264, gop_size=250)
    truth = sequential(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff" * 400
    path.write_bytes(data)
    with open_video(path) as video:
        assert torch.equal(video.frames([0, 3]), truth[[0, 3]])
        try:
            video.frames([video.num_frames - 1])
        except VideoError as error:
            assert "damaged.mkv" in str(error)
        assert torch.equal(video.frames([3, 0]), truth[[3, 0]])


def test_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.mp4", "libx264", count=10, options=X264)
    path = tmp_path / "cover.mp4"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        cover = target.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        copy = target.add_stream_from_template(source.streams.video[0])
        target.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0, 32, 32), format="rgb24")))
        target.mux(cover.encode(None))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    with open_video(path) as video:
        assert (video.num_frames, video.size) == (10, (64, 80))


def test_unknown_and_missing_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"'opencv' is not one of pyav, torchcodec, decord"):
        open_video("a.mp4", "opencv")
    monkeypatch.setitem(__import__("sys").modules, "decord", None)
    with pytest.raises(UserError, match=r'pip install "vidcore\[decord\]"'):
        open_video("a.mp4", "decord")
    assert "decord" not in installed_backends()
    assert "pyav" in installed_backends()


def save_pictures(folder: Path, names: list[str], size: tuple[int, int] = (24, 32)) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(picture(number, *size)).save(folder / name)
    return folder


@pytest.mark.parametrize("backend", ["pyav", "torchcodec"])
def test_a_folder_of_pictures_is_a_video(tmp_path, backend):
    folder = save_pictures(tmp_path / "v", [f"img_{number}.png" for number in range(12)])
    (folder / "notes.txt").write_text("passed over")
    with open_video(folder, backend, fps=12) as video:
        assert (video.num_frames, video.size, video.fps) == (12, (24, 32), 12)
        torch.testing.assert_close(video.times, torch.arange(12, dtype=torch.float64) / 12)
        frames = video.frames([11, 2, 2])
        expected = torch.stack([torch.from_numpy(picture(number, 24, 32)).permute(2, 0, 1) for number in (11, 2, 2)])
        assert torch.equal(frames, expected)
        assert video.frames([]).shape == (0, 3, 24, 32)


@pytest.mark.parametrize("backend", ["pyav", "torchcodec"])
def test_a_picture_is_a_video_of_one_frame(tmp_path, backend):
    folder = save_pictures(tmp_path / "v", ["0.png", "1.png"])
    with open_video(folder / "1.png", backend) as video:
        assert (video.num_frames, video.times.tolist(), video.size) == (1, [0.0], (24, 32))
        expected = torch.from_numpy(picture(1, 24, 32)).permute(2, 0, 1)
        assert torch.equal(video.frames([0, 0]), expected.expand(2, -1, -1, -1))
    with pytest.raises(VideoError, match=r"2\.png: No such file"):
        open_video(folder / "2.png", backend)


def test_folders_of_pictures_are_found_as_videos(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_pictures(tmp_path / name / "v", ["1.jpg", "2.jpg"])
    assert expand_paths([str(tmp_path)], frames=True) == [str(tmp_path / "a/v"), str(tmp_path / "b/v")]
    (tmp_path / "a/v/clip.mp4").touch()
    expected = [str(tmp_path / "a/v/clip.mp4"), str(tmp_path / "b/v")]
    assert expand_paths([str(tmp_path)], frames=True) == expected, "pictures beside videos are none"
    assert expand_paths([str(tmp_path)]) == expected[:1]


def test_folders_of_pictures_that_are_none(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match=r"empty: has no pictures \(\.jpeg"):
        open_video(tmp_path / "empty")
    folder = save_pictures(tmp_path / "v", ["1.jpg", "2.jpg", "3.jpg"])
    Image.fromarray(picture(0, 10, 40)).save(folder / "2.jpg")
    (folder / "3.jpg").write_bytes((folder / "1.jpg").read_bytes()[:80])
    with open_video(folder) as video:
        assert video.frames([0]).shape == (1, 3, 24, 32)
        with pytest.raises(VideoError, match=r"2\.jpg is 40 × 10 pixels, the first picture is 32 × 24"):
            video.frames([0, 1])
        with pytest.raises(VideoError, match=r"3\.jpg: cannot be decoded"):
            video.frames([2])
        with pytest.raises(VideoError, match="frame 3 is out of range"):
            video.frames([3])
