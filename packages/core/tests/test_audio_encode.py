from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vidcore.video.audio import NoAudioError, read_audio
from vidcore.video.decoder import VideoError, open_video
from vidcore.video.encode import write_video

RATE = 16_000


def still(count: int, height: int = 32, width: int = 48) -> torch.Tensor:
    ramp = torch.arange(width).repeat(height, 1) * 4
    return torch.stack([torch.stack([ramp + 3 * t, ramp, 255 - ramp]) % 256 for t in range(count)]).to(torch.uint8)


def chirp(seconds: float, rate: int) -> np.ndarray:
    """A tone that rises from 200 to 1200 Hz in 3 s: no two stretches are alike."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 * t + 1000 / 6 * t**2))).astype(np.float32)


def write_wav(path: Path, channels: np.ndarray, rate: int) -> Path:
    with av.open(str(path), "w") as container:
        layout = "stereo" if len(channels) == 2 else "mono"
        stream = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        samples = np.ascontiguousarray((channels * 32767).round().astype(np.int16).T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_wav_is_read_sample_by_sample(tmp_path: Path) -> None:
    wave = chirp(3, RATE)
    path = write_wav(tmp_path / "a.wav", wave[None], RATE)
    assert read_audio(path, RATE).dtype == torch.float32
    assert np.allclose(read_audio(path, RATE).numpy(), wave, atol=1e-4)
    assert np.allclose(read_audio(path, RATE, 1.5, 2.0).numpy(), wave[24_000:32_000], atol=1e-4)


def test_channels_are_averaged(tmp_path: Path) -> None:
    wave = chirp(1, RATE) * 1.9
    path = write_wav(tmp_path / "a.wav", np.stack([wave, np.zeros_like(wave)]), RATE)
    assert np.allclose(read_audio(path, RATE).numpy(), wave / 2, atol=1e-4)


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_resampled_sound_stays_in_place(tmp_path: Path, rate: int) -> None:
    path = write_wav(tmp_path / "a.wav", chirp(3, 44_100)[None], 44_100)
    wanted = chirp(3, rate)
    assert np.abs(read_audio(path, rate, 0, 3).numpy() - wanted)[50:-50].max() < 2e-3
    for start in (0.3, 1.37, 2.0, 2.5):
        part = read_audio(path, rate, start, start + 0.4).numpy()
        first = round(start * rate)
        assert len(part) == round(0.4 * rate)
        assert np.abs(part - wanted[first : first + len(part)]).max() < 2e-3


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_window_equals_that_part_of_the_whole(tmp_path: Path, name: str) -> None:
    wave = chirp(3, RATE)
    path = tmp_path / name
    write_video(path, still(75), 25, torch.from_numpy(wave), RATE)
    whole = read_audio(path, RATE, 0, 3).numpy()
    error = {shift: np.abs(whole[2000 + shift : 46_000 + shift] - wave[2000:46_000]).mean() for shift in range(-40, 41)}
    at = min(error, key=error.__getitem__)
    assert abs(at) <= (0 if name == "a.mp4" else 16)  # Matroska's clock ticks in ms
    assert error[at] < 0.02
    for start, end in ((0.5, 1.0), (1.21, 1.9), (2.3, 3.0)):
        part = read_audio(path, RATE, start, end).numpy()
        first = round(start * RATE)
        slack = 0 if name == "a.mp4" else 16
        inner = part[slack : len(part) - slack]
        near = [whole[first + s :][: len(inner)] for s in range(2 * slack + 1)]
        assert min(np.abs(inner - piece).max() for piece in near if len(piece) == len(inner)) < 1e-3


def test_past_the_end_is_silence(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", chirp(1, RATE)[None], RATE)
    sound = read_audio(path, RATE, 0.9, 2.0)
    assert len(sound) == round(1.1 * RATE)
    assert sound[:1500].abs().max() > 0.3
    assert not sound[1600:].any()
    assert not read_audio(path, RATE, 5, 6).any()
    assert len(read_audio(path, RATE, 5)) == 0


def test_errors_name_the_file(tmp_path: Path) -> None:
    write_video(tmp_path / "mute.mp4", still(3), 25)
    with pytest.raises(NoAudioError, match=r"mute\.mp4"):
        read_audio(tmp_path / "mute.mp4", RATE)
    (tmp_path / "text.mp4").write_text("no sound\n" * 99)
    for name in ("text.mp4", "missing.mp4"):
        with pytest.raises(VideoError, match=name):
            read_audio(tmp_path / name, RATE)
    with pytest.raises(ValueError, match="from 2 to 1 s"):
        read_audio(tmp_path / "mute.mp4", RATE, 2, 1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_same_input_gives_same_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / "b").mkdir()
    for folder in (tmp_path, tmp_path / "b"):
        write_video(folder / name, still(20), 29.97, torch.from_numpy(chirp(0.6, RATE)), RATE)
    assert (tmp_path / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    frames = still(30, 33, 47)
    write_video(tmp_path / "a.mp4", iter(frames), 12.5, crf=1)
    with open_video(tmp_path / "a.mp4") as video:
        assert (video.num_frames, video.fps, video.size) == (30, 12.5, (34, 48))
        seen = video.frames(range(30))
    assert (seen[:, :, :33, :47].float() - frames.float()).abs().mean() < 12
    assert torch.equal(video_stream(tmp_path / "a.mp4"), torch.tensor([0, 1]))


def video_stream(path: Path) -> torch.Tensor:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return torch.tensor([len(container.streams.audio), int(stream.codec_context.pix_fmt == "yuv420p")])


def test_sound_lasts_as_long_as_given(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", still(10), 25, torch.from_numpy(chirp(2, RATE)), RATE)
    assert math.isclose(len(read_audio(tmp_path / "a.mp4", RATE)) / RATE, 2, abs_tol=0.07)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(25)


def test_failure_leaves_no_file(tmp_path: Path) -> None:
    def frames():
        yield from still(60)
        assert not (tmp_path / "a.mp4").exists()
        raise RuntimeError("the renderer failed")

    with pytest.raises(RuntimeError, match="renderer"):
        write_video(tmp_path / "a.mp4", frames(), 25)
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], 25)
    with pytest.raises(ValueError, match="frame 1 must be uint8"):
        write_video(tmp_path / "a.mp4", [still(1)[0], still(1, 16)[0]], 25)
    assert list(tmp_path.iterdir()) == []
