"""``vidcore_deploy.stream`` against ``vid stream``, and against the model by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from test_stream import TASK, installed, scores, seeing_red, softmax, video  # noqa: F401

import vidcore
import vidcore_deploy
from vidcore import UserError
from vidcore.cli import main

RED, GREEN = (np.full((24, 32, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0)))


def without_time(rows):
    return [{key: value for key, value in row.items() if key != "ms"} for row in rows]


@pytest.fixture
def model(installed):  # noqa: F811
    clip = {"clip": {"fps": 5}}
    return vidcore.load(model="sofar", model_args=clip, weights="sofar.safetensors", classes=list(TASK.classes))


def test_importing_the_package_imports_no_torch():
    program = "import sys, vidcore_deploy; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("options", [{}, {"smooth": 0.5}, {"reset": 0.3}])
def test_rows_are_those_of_the_command(model, installed, video, capsys, options):  # noqa: F811
    arguments = [f"--{name}={value}" for name, value in options.items()]
    Path("names.txt").write_text("\n".join(TASK.classes))
    assert main(["stream", video, *installed[:-1], "names.txt", "--model.clip.fps", "5", *arguments]) == 0
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = list(vidcore_deploy.stream(model, video, **options))
    assert len(rows) > 2
    assert without_time(rows) == without_time(expected)
    assert all(row["ms"] > 0 for row in rows)
    assert capsys.readouterr() == ("", "")


def test_frames_of_a_file_as_an_iterable(installed, video):  # noqa: F811
    """Without a frame rate the model sees every frame of the file, as it does of an iterable."""
    model = vidcore.load(model="sofar", weights="sofar.safetensors", classes=3)
    with av.open(video) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    expected = [row["top"] for row in vidcore_deploy.stream(model, video)]
    assert len(expected) == len(frames) // model.module.clip_spec.stride
    seen = frames[:: model.module.clip_spec.stride]
    for kind in (seen, map(torch.from_numpy, seen), (frame[:, ::-1].copy()[:, ::-1] for frame in seen)):
        assert [row["top"] for row in vidcore_deploy.stream(model, kind)] == expected


def test_an_iterable_is_taken_frame_by_frame(model):
    rows = vidcore_deploy.stream(model, iter([RED, RED, GREEN, GREEN]))
    first = next(rows)
    assert (first["frame"], first["time"], first["dropped"]) == (0, 0.0, 0)
    assert scores(first) == pytest.approx(softmax(1, 0, 0), abs=1e-4)
    last = list(rows)[-1]
    assert (last["frame"], last["time"]) == (3, 0.6)  # 5 frames per second
    assert scores(last) == pytest.approx(softmax(0.5, 0.5, 0), abs=1e-4)


def test_models_of_every_kind(model, tmp_path):
    pytest.importorskip("onnxruntime")
    from vidcore_deploy.step import export_step

    expected = [row["top"] for row in vidcore_deploy.stream(model, [RED, GREEN])]
    assert [row["top"] for row in vidcore_deploy.stream(seeing_red(), [RED, GREEN])] == expected
    export_step(model.module, tmp_path / "step.onnx")
    exported = [row["top"] for row in vidcore_deploy.stream(tmp_path / "step.onnx", [RED, GREEN])]
    assert [best["class"] for best in exported[0]] == [best["class"] for best in expected[0]]
    assert [best["score"] for best in exported[1]] == pytest.approx([best["score"] for best in expected[1]], abs=1e-3)


def test_a_loop_that_ends_early_closes_the_source(model):
    closed = []

    def frames():
        try:
            while True:
                yield RED
        finally:
            closed.append(True)

    for row in vidcore_deploy.stream(model, frames()):
        if row["frame"] == 2:
            break
    del row
    assert closed == [True]


@pytest.mark.parametrize(
    ("source", "options", "text"),
    [
        ("none.mp4", {}, "no file none.mp4"),
        ([RED.astype(np.float32)], {}, r"frame 0 must be uint8 \(H, W, 3\), got float32 \(24, 32, 3\)"),
        ([RED, RED[..., 0]], {}, r"frame 1 must be uint8 \(H, W, 3\), got uint8 \(24, 32\)"),
        (["a.mp4"], {}, "frame 0 must be uint8"),
        ([RED], {"smooth": -1}, "smooth must be 0 or more, got -1"),
        (999, {}, "camera"),
    ],
)
def test_mistakes(model, source, options, text):
    with pytest.raises(UserError, match=text):
        list(vidcore_deploy.stream(model, source, **options))


def test_models_that_cannot_stream(installed):  # noqa: F811
    with pytest.raises(UserError, match="does not stream"):
        vidcore_deploy.stream(vidcore.load(model="mean", weights="mean.safetensors", classes=3), [RED])
    with pytest.raises(UserError, match=r"none\.ckpt"):
        vidcore_deploy.stream("none.ckpt", [RED])
    with pytest.raises(UserError, match=r"none\.onnx"):
        vidcore_deploy.stream("none.onnx", [RED])
