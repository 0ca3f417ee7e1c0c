"""A small file takes neither all memory, nor another file, nor time after its limit."""

from __future__ import annotations

import http.server
import struct
import tarfile
import threading
import zipfile
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import av
import numpy as np
import pytest
import torch
from test_audio_encode import chirp, write_wav
from test_decoder import X264, make

from vidcore import UserError
from vidcore.cli import environment
from vidcore.video import VideoError, open_video, read_audio
from vidcore.video.container import open_url
from vidcore.video.limits import LIMITS, PIXELS, LimitError
from vidcore.video.time_limit import within
from vidcore.weights.checkpoint import read_checkpoint
from vidcore.weights.published import read_weights
from vidcore.weights.tensorflow import read_variables
from vidcore_datasets.checking.check import check_file
from vidcore_datasets.statistics.stats import read_header


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make(tmp_path_factory.mktemp("videos") / "good.mp4", "libx264", count=10, options=X264)


# What a file declares.


def test_limits_are_set_by_their_variables(monkeypatch):
    assert len({limit.variable for limit in LIMITS}) == len(LIMITS)
    PIXELS.check(8192 * 8192)
    with pytest.raises(LimitError, match=r"declares 67108865 pixels .*, more than VID_MAX_PIXELS=67108864 allows"):
        PIXELS.check(8192 * 8192 + 1)
    monkeypatch.setenv("VID_MAX_PIXELS", "100")
    with pytest.raises(LimitError, match=r"declares 101 .* VID_MAX_PIXELS=100 "):
        PIXELS.check(101)
    for text in ("", "-1", "0", "1e9", "²", "9" * 5000):
        monkeypatch.setenv("VID_MAX_PIXELS", text)
        with pytest.raises(UserError, match="VID_MAX_PIXELS must be a positive whole number"):
            PIXELS.check(1)


def refused_everywhere(path: Path, reason: str) -> None:
    """In reading, in ``vid data check`` and in ``vid data stats``."""
    with pytest.raises(VideoError, match=rf"{path.name}: {reason}"):
        open_video(path)
    assert reason in check_file(str(path)).reason
    assert reason in read_header(str(path)).error


def test_a_frame_of_a_video(tmp_path, video, monkeypatch):
    path = tmp_path / "large.mp4"
    path.write_bytes(b"YUV4MPEG2 W16000 H16000 F25:1 C420\nFRAME\n" + bytes(100))
    refused_everywhere(path, "declares 256000000 pixels")
    monkeypatch.setenv("VID_MAX_PIXELS", str(64 * 80 - 1))
    refused_everywhere(video, "declares 5120 pixels")
    monkeypatch.setenv("VID_MAX_PIXELS", str(64 * 80))
    with open_video(video) as opened:
        assert len(opened.frames([0])) == 1


def test_a_frame_that_is_larger_than_the_header_says(tmp_path):
    path = make(tmp_path / "small.ivf", "libvpx", count=1)
    data = bytearray(path.read_bytes())
    start = data.index(b"\x9d\x01\x2a") + 3  # of a VP8 key frame; its width and height follow
    assert struct.unpack_from("<2H", data, start) == (80, 64)
    struct.pack_into("<2H", data, start, 16383, 16383)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"small\.ivf"), open_video(path) as opened:
        opened.frames([0])
    assert check_file(str(path)).status == "error"


def boxes(data: bytes, replaced: dict[bytes, bytes]) -> bytes:
    """An MP4 file with the content of some boxes replaced."""
    out, place = b"", 0
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        content = data[place + 8 : place + size]
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            content = boxes(content, replaced)
        content = replaced.get(name, content)
        out += struct.pack(">I4s", len(content) + 8, name) + content
        place += size
    return out


def declaring(data: bytes, frames: int) -> bytes:
    sizes = struct.pack(">3I", 0, 1, frames)  # of one byte each
    chunks = struct.pack(">5I", 0, 1, 1, frames, 1)
    return boxes(data, {b"stsz": sizes, b"stts": struct.pack(">4I", 0, 1, frames, 512), b"stsc": chunks, b"ctts": b""})


@pytest.mark.parametrize("frames", [10**9, 80_000_000])
def test_the_frames_of_an_mp4(tmp_path, video, monkeypatch, frames):
    path = tmp_path / "many.mp4"
    path.write_bytes(declaring(video.read_bytes(), frames))
    monkeypatch.setattr(av, "open", None)  # which allocates
    refused_everywhere(path, f"declares {frames} frames")


def test_the_frames_of_a_fragment(tmp_path, video, monkeypatch):
    run = struct.pack(">I4s2I", 16, b"trun", 0, 10**9)
    inner = struct.pack(">I4s", 24, b"traf") + run
    path = tmp_path / "many.mp4"
    path.write_bytes(video.read_bytes() + struct.pack(">I4s", 32, b"moof") + inner)
    monkeypatch.setattr(av, "open", None)
    refused_everywhere(path, "declares 1000000010 frames")


def test_frames_are_counted_while_they_are_indexed(tmp_path, monkeypatch):
    monkeypatch.setenv("VID_MAX_FRAMES", "9")
    for name, codec, settings in [("a.mkv", "libx264", {"options": X264}), ("b.avi", "mpeg4", {"max_b_frames": 2})]:
        path = make(tmp_path / name, codec, count=270, **settings)
        with pytest.raises(VideoError, match=r"frames, more than VID_MAX_FRAMES=9 allows"):
            open_video(path)


def test_samples_of_pcm_are_no_frames(tmp_path, monkeypatch):
    monkeypatch.setenv("VID_MAX_FRAMES", "4000")
    path = tmp_path / "pcm.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray((chirp(1, 8000) * 9000).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert len(read_audio(path, 8000)) == 8000


def test_the_frames_that_are_read_at_once(video, monkeypatch):
    monkeypatch.setenv("VID_MAX_CLIP_PIXELS", str(3 * 64 * 80))
    with open_video(video) as opened:
        assert len(opened.frames([0, 1, 2])) == 3
        with pytest.raises(VideoError, match=r"good.mp4: declares 20480 pixels in the frames that are read at once"):
            opened.frames([0, 1, 2, 3])


# Archives, pickles, headers.


def packed(path: Path, target: Path) -> Path:
    """The archive with its members compressed."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in source.infolist():
            archive.writestr(member.filename, source.read(member))
    return target


def test_an_archive_that_unpacks_to_more(tmp_path, monkeypatch):
    weights = {"weight": torch.zeros(2000, 1000)}
    torch.save(weights, tmp_path / "plain.pt")
    np.savez(tmp_path / "plain.npz", **{name: tensor.numpy() for name, tensor in weights.items()})
    small = (
        packed(tmp_path / "plain.pt", tmp_path / "packed.pt"),
        packed(tmp_path / "plain.npz", tmp_path / "packed.npz"),
    )
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "plain.npz", "model.index")
    assert read_weights(small[0])["weight"].shape == (2000, 1000)
    assert read_variables(small[1])["weight"].shape == (2000, 1000)
    monkeypatch.setenv("VID_MAX_UNPACKED_BYTES", "7000000")
    assert read_weights(tmp_path / "plain.pt")["weight"].shape == (2000, 1000)
    assert read_variables(tmp_path / "plain.npz")["weight"].shape == (2000, 1000)
    for read, name in (
        (read_weights, "pt"),
        (read_checkpoint, "pt"),
        (read_variables, "npz"),
        (read_variables, "tar.gz"),
    ):
        with pytest.raises(
            UserError, match=rf"packed\.{name} .*declares 8\d+ bytes after unpacking, more than VID_MAX_U"
        ):
            read(tmp_path / f"packed.{name}")


class Large:
    def __reduce__(self):
        return bytearray, (10**12,)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [0, 2])
def test_a_pickle_that_creates_memory(tmp_path, legacy, protocol):
    path = tmp_path / "large.ckpt"
    torch.save({"x": Large()}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    for read in (read_weights, read_checkpoint):
        with pytest.raises(UserError, match=r"large\.ckpt .* creates a bytearray, whose size nothing limits"):
            read(path)


def test_the_header_of_safetensors(tmp_path):
    for name, header in [("huge", 2**60), ("large", 10**8 - 1), ("cut", 1000)]:
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(
            struct.pack("<Q", header) + b'{"a":{"dtype":"F32","shape":[10000000000],"data_offsets":[0,4]}}'
        )
        with pytest.raises(UserError, match=rf"{name}\.safetensors"):
            read_weights(path)
    shape = b'{"a":{"dtype":"F32","shape":[10000000000],"data_offsets":[0,40000000000]}}'
    path.write_bytes(struct.pack("<Q", len(shape)) + shape + bytes(16))
    with pytest.raises(UserError, match=r"cut\.safetensors"):
        read_weights(path)


def test_variables_of_limits_are_known(monkeypatch):
    assert {limit.variable for limit in LIMITS} == set(environment._OTHERS) - {"VID_PLUGINS"}
    monkeypatch.setenv("VID_MAX_PIXELS", "1")
    monkeypatch.setenv("VID_MAX_FRAME", "1")
    (warning,) = (warning for warning in environment.unused() if "VID_MAX" in warning)
    assert "VID_MAX_FRAME is not used; did you mean VID_MAX_FRAMES" in warning


# Other files.


def playlists(target: str) -> dict[str, str]:
    """Files that name another one."""
    return {
        "concat": f"ffconcat version 1.0\nfile {target}\n",
        "hls": f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
            '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000" width="80" height="64">'
            f"<BaseURL>{target}</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>"
        ),
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
    }


@pytest.mark.parametrize("kind", playlists(""))
@pytest.mark.parametrize("ending", ["mp4", "m3u8", "mpd", "sdp", "ffconcat"])
def test_a_playlist_opens_nothing_else(tmp_path, video, kind, ending):
    Path(tmp_path, "other.mp4").write_bytes(video.read_bytes())
    path = tmp_path / f"playlist.{ending}"
    path.write_text(playlists("other.mp4")[kind])
    if kind == "concat":  # the file is of the kind: FFmpeg itself follows it
        with av.open(str(path)) as container:
            assert next(container.decode(video=0))
    for read in (open_video, lambda path: read_audio(path, 8000), lambda path: open_video(f"file://{path}")):
        with pytest.raises(VideoError, match=r"playlist|Invalid data"):
            read(path)
    size = path.stat().st_size
    with pytest.raises(VideoError, match=r"playlist|Invalid data"):
        open_video(f"{path}#bytes=0-{size}")
    assert check_file(str(path)).status == "error" and read_header(str(path)).error


@pytest.mark.parametrize("name", ["concat:other.mp4|other.mp4", "subfile,,start,0,end,0,,:other.mp4", "data:x.mp4"])
def test_a_name_is_a_name(tmp_path, video, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("other.mp4").write_bytes(video.read_bytes())
    with pytest.raises(VideoError, match="No such file"):
        open_video(name)
    Path(name).write_bytes(video.read_bytes())
    with open_video(name) as opened:
        assert opened.num_frames == 10


def test_a_playlist_at_a_url_opens_urls_only(tmp_path, video):
    secret = make(tmp_path / "secret.ts", "libx264", count=5, options=X264)
    served = tmp_path / "served"
    served.mkdir()
    (served / "part.ts").write_bytes(secret.read_bytes())
    (served / "good.m3u8").write_text(playlists("part.ts")["hls"])
    (served / "bad.m3u8").write_text(playlists(f"file://{secret}")["hls"])
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with open_url(f"{url}/good.m3u8", 10, {}) as container:
                assert next(container.decode(video=0)).width == 80
            with pytest.raises((av.FFmpegError, StopIteration)), open_url(f"{url}/bad.m3u8", 10, {}) as container:
                next(container.decode(video=0))
        finally:
            server.shutdown()


# Time.


def test_a_read_ends_with_its_time(video):
    ended = threading.Event()

    def read():
        try:
            with open_video(video) as opened:
                while True:  # as a file that takes hours
                    opened.frames([9])
                    opened.frames([0])
        finally:
            ended.set()

    with pytest.raises(VideoError, match=r"good.mp4: took longer than 0.2 s to read"):
        within(0.2, video, read)
    assert ended.wait(60)
    if Path("/proc/self/fd").exists():
        assert video not in [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert within(60, video, lambda: open_video(video).num_frames) == 10


@pytest.mark.parametrize("name", ["index.mkv", "counted.avi", "sound.wav"])
def test_every_loop_over_a_file_looks_at_the_time(tmp_path, name):
    path = tmp_path / name
    if name == "sound.wav":
        write_wav(path, chirp(2, 8000)[None], 8000)
        read = partial(read_audio, path, 8000)
    else:
        codec = "libx264" if name == "index.mkv" else "mpeg4"
        make(path, codec, count=20, **({"options": X264} if codec == "libx264" else {"max_b_frames": 2}))
        read = partial(open_video, path)
    late, outcome = threading.Event(), SimpleQueue()

    def reads_late():
        late.wait(60)
        try:
            outcome.put(read())
        except BaseException as error:
            outcome.put(error)

    with pytest.raises(VideoError, match="took longer"):
        within(0.05, path, reads_late)
    late.set()
    assert isinstance(outcome.get(timeout=60), VideoError)
