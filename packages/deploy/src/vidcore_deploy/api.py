"""Python interface of ``vid stream``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidcore.api import File, Model, load
from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.module import VideoModule
from vidcore_deploy.decisions import Stepping, decisions
from vidcore_deploy.sources import Picture, cut, pictures
from vidcore_deploy.step import Step, open_engine


def stream(
    model: Model | VideoModule | File,
    source: File | int | Iterable[Any],
    *,
    smooth: float = 0.0,
    reset: float = math.inf,
    timeout: float = 10.0,
    reconnect: int = 5,
) -> Iterator[dict[str, Any]]:
    """Run a model frame by frame, as ``vid stream`` does.

    Args:
        model: What [`vidcore.load`][vidcore.api.load] returns, a checkpoint, or an exported step (``.onnx`` or
            ``.tflite``).
        source: A file, the number of a camera, a URL that FFmpeg opens, or an iterable of frames: arrays or tensors
            (H, W, 3), uint8, RGB. Of a camera or a URL the model gets the newest frame. Of an iterable it gets each
            frame, in order; they should come at the model's frame rate.
        smooth: Time in seconds over which scores are averaged, older ones weighing exponentially less. Default: 0.
        reset: Seconds after which the state of the model is reset. Default: never.
        timeout: Seconds without a frame after which a connection is given up.
        reconnect: Number of attempts in a row to connect to a URL again.

    Yields:
        One row (dict) per frame: ``time`` in seconds (of an iterable: frame number / model's frame rate), ``frame``
        (its number, from 0), ``top`` (list of ``class`` and ``score``), ``smoothed``, ``ms`` of the step, and
        ``dropped``, the number of frames dropped so far.

    Raises:
        UserError: The model cannot stream, a file is not found, or a frame has another shape or dtype.
        VideoError: The source cannot be opened, or is lost.

    Example:
        ```python
        for answer in vidcore_deploy.stream("best.ckpt", "rtsp://host/door", smooth=1):
            print(answer["time"], answer["top"][0]["class"])
        ```
    """
    for name, value in {"smooth": smooth, "reset": reset, "timeout": timeout, "reconnect": reconnect}.items():
        if not value >= 0:
            raise UserError(f"{name} must be 0 or more, got {value}")
    stepping = _stepping(model)
    frames = _pictures(source, stepping.clip_spec, timeout, reconnect)
    return (row for row, _ in decisions(stepping, frames, smooth, reset))


def _stepping(model: Model | VideoModule | File) -> Stepping:
    if isinstance(model, (str, os.PathLike)):
        if Path(model).suffix in (".onnx", ".tflite", ".pt2"):
            return open_engine(model)
        model = load(model)
    module = model.module if isinstance(model, Model) else model
    return Step(module.for_inference())


def _pictures(source: File | int | Iterable[Any], spec: ClipSpec, timeout: float, reconnect: int) -> Iterator[Picture]:
    if not isinstance(source, (str, int, os.PathLike)):
        return _given(source, spec)
    name = str(source) if isinstance(source, int) else os.fspath(source)
    if "://" not in name and not name.isdigit() and not Path(name).is_file():
        raise UserError(f"no file {name}")
    return pictures(name, spec, timeout, reconnect)


def _given(frames: Iterable[Any], spec: ClipSpec) -> Iterator[Picture]:
    """Cut frames of an iterable, which come at the model's rate."""
    rate = spec.fps or 25 / spec.stride
    for number, frame in enumerate(frames):
        array = np.array(frame.cpu() if isinstance(frame, torch.Tensor) else frame, order="C")
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise UserError(f"frame {number} must be uint8 (H, W, 3), got {array.dtype} {array.shape}")
        yield Picture(number / rate, cut(torch.from_numpy(array).permute(2, 0, 1), spec), number == 0, 0)
