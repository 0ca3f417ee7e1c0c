"""Write video files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor

from vidcore.writing import replacing


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[Tensor] | Tensor,
    fps: float,
    audio: Tensor | None = None,
    audio_rate: int = 16_000,
    crf: int = 18,
) -> None:
    """Write frames, and audio if given, as H.264 (yuv420p) and AAC.

    Frames are encoded one by one; none is kept. Odd heights and widths are extended by repeating the last row or
    column, since H.264 with 4:2:0 chroma requires even ones. The same input gives the same bytes. The file appears at
    ``path`` when it is complete.

    Args:
        path: Output file; the suffix defines the container: ``.mp4``, ``.mkv``, ``.mov``.
        frames: uint8 RGB frames (3, H, W), or (T, 3, H, W), all of the same size.
        fps: Frame rate in Hz.
        audio: Mono waveform (N,) in [-1, 1]. Default: no audio.
        audio_rate: Sampling rate in Hz. Default: 16 kHz.
        crf: Constant rate factor of x264, from 0 (lossless luma) to 51 (worst). Default: 18.

    Raises:
        ValueError: There is no frame, or a frame has another dtype, shape or size.
    """
    # Without this flag, muxers write random identifiers and their version.
    flags = {"fflags": "+bitexact"}
    with replacing(Path(path)) as part, av.open(str(part), "w", container_options=flags) as container:
        _encode(container, frames, fps, audio, audio_rate, crf)


def _encode(
    container: av.container.OutputContainer,
    frames: Iterable[Tensor] | Tensor,
    fps: float,
    audio: Tensor | None,
    audio_rate: int,
    crf: int,
) -> None:
    rate = Fraction(fps).limit_denominator(1001)
    # x264's macroblock tree is not deterministic.
    video = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "mbtree": "0"})
    video.pix_fmt = "yuv420p"
    video.codec_context.thread_count = 1
    sound = None
    if audio is not None:
        sound = container.add_stream("aac", rate=audio_rate, layout="mono")
        wave = audio.detach().to("cpu", torch.float32).clamp(-1, 1).numpy()
    converter = VideoReformatter()
    written = 0
    size: tuple[int, ...] | None = None
    for number, frame in enumerate(frames):
        if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[0] != 3 or size not in (None, frame.shape):
            wanted = f"(3, {size[1]}, {size[2]})" if size else "(3, H, W)"
            raise ValueError(f"frame {number} must be uint8 {wanted}, got {frame.dtype} {tuple(frame.shape)}")
        size = tuple(frame.shape)
        picture = frame.permute(1, 2, 0).cpu().numpy()
        height, width = picture.shape[:2]
        if height % 2 or width % 2:
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if number == 0:
            video.height, video.width = picture.shape[:2]
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        image = converter.reformat(image, format="yuv420p", threads=1)
        image.pts, image.time_base = number, 1 / rate
        container.mux(video.encode(image))
        if sound is not None:
            # Encode audio along with the frames, so that neither is buffered for interleaving.
            until = min(len(wave), round((number + 1) / rate * audio_rate))
            _encode_sound(container, sound, wave, written, until)
            written = until
    if size is None:
        raise ValueError("there are no frames to write")
    if sound is not None:
        _encode_sound(container, sound, wave, written, len(wave))
        container.mux(sound.encode(None))
    container.mux(video.encode(None))


def _encode_sound(
    container: av.container.OutputContainer, stream: av.AudioStream, wave: np.ndarray, start: int, stop: int
) -> None:
    if stop <= start:
        return
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None, start:stop]), format="fltp", layout="mono")
    frame.sample_rate = stream.rate
    frame.pts, frame.time_base = start, Fraction(1, stream.rate)
    container.mux(stream.encode(frame))
