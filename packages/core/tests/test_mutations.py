"""A damaged file is read or refused, whatever the damage: no other error, no hang, no crash."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import av
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "mutations.py"
KINDS = {"a.mp4": "libx264", "b.avi": "mpeg4", "c.webm": "libvpx-vp9", "d.mkv": "mjpeg"}


@pytest.fixture(scope="module")
def mutations():
    if not SCRIPT.exists():
        pytest.skip("without the repository around it")
    spec = importlib.util.spec_from_file_location("mutations", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutations"] = module  # the child process imports it by name
    spec.loader.exec_module(module)
    return module


def write(path, codec):
    """A moving pattern of 24 frames, with sound."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=12, options={"g": "8"})
        video.width, video.height = 48, 32
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        sound = container.add_stream({".webm": "libopus", ".avi": "mp2"}.get(path.suffix, "aac"), rate=48_000)
        for number in range(24):
            shifted = np.ascontiguousarray(picture[number : number + 32, number : number + 48])
            container.mux(video.encode(av.VideoFrame.from_ndarray(shifted, format="rgb24")))
        container.mux(video.encode(None))
        for start in range(0, 48_000, 1152):
            format = sound.codec_context.format.name
            wave = rng.uniform(-0.5, 0.5, (1, 1152 * sound.codec_context.layout.nb_channels))
            wave = (wave * 32767).astype(np.int16) if format == "s16" else wave.astype(np.float32)
            planar = format.endswith("p")
            wave = wave.reshape(-1, 1152) if planar else wave
            frame = av.AudioFrame.from_ndarray(wave, format=format, layout=sound.codec_context.layout.name)
            frame.sample_rate, frame.pts = 48_000, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def test_a_thousand_mutations(mutations, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    files = []
    for name, codec in KINDS.items():
        if codec in av.codecs_available:
            files.append(write(tmp_path / name, codec))
            assert mutations.read(files[-1]) == "read"
    outcomes, failures = mutations.examine(files, 1000)
    assert failures == []
    assert outcomes.total() == 1000
    assert outcomes["read"] > 100
    assert sum(number for outcome, number in outcomes.items() if outcome != "read") > 100, "most damage went unseen"


def test_a_crash_and_an_unexpected_error_are_failures(mutations, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    reader = mutations.Reader(str(tmp_path))
    assert reader.read(tmp_path, 0) == (False, "the process died with 1")  # a folder cannot be mutated
    (tmp_path / "one").write_bytes(b"x" * 99)
    good, outcome = reader.read(tmp_path / "one", 0)
    assert good and outcome != "read"
    reader.stop()
