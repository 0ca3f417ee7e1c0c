"""Re-encode videos for small size and fast seeking: H.264 with dense key frames, or one image per frame."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import torch

from vidcore.video.audio import NoAudioError, Sound
from vidcore.video.decoder import Decoder
from vidcore.video.pyav import PyavDecoder
from vidcore.video.upright import Upright

CRF = 20
"""Constant rate factor of x264; the loss is barely visible."""
JPEG_QUALITY = 90
_CLOCK = 90_000  # Hz, as MPEG counts time
_PIECE = 10.0  # seconds of sound that are held at a time
_SOUND_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # of those that AAC knows
_BLOCK = 16  # frames of a folder that are held at a time


def reencode(video: Decoder, source: str, path: Path, short_side: int, gop: int) -> int:
    """Write an mp4 file of H.264 (yuv420p, no B-frames) with the original presentation times, and mono AAC.

    The same video gives the same bytes.

    Args:
        video: Decoder of the source.
        source: Path of the source, for its audio.
        path: Output file.
        short_side: Maximum short side in pixels; smaller videos keep their size.
        gop: Key frame interval in frames.

    Returns:
        Number of frames written.

    Raises:
        VideoError: A frame or the audio cannot be decoded.
        OSError: The file cannot be written.
    """
    times, last = video.times.tolist(), -1
    options = {"crf": str(CRF), "g": str(gop), "bf": "0", "mbtree": "0", "sc_threshold": "0"}
    count = 0
    with av.open(
        str(path), "w", options={"movflags": "+faststart"}, container_options={"fflags": "+bitexact"}
    ) as container:
        stream = container.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1001), options=options)
        codec = stream.codec_context
        stream.pix_fmt, codec.thread_count, codec.time_base = "yuv420p", 1, Fraction(1, _CLOCK)
        sound = _Sound(source, container)
        for count, frame in enumerate(small_frames(video, short_side), 1):
            if count == 1:
                stream.width, stream.height = frame.width, frame.height
                codec.color_range, codec.colorspace = frame.color_range, frame.colorspace
            last = max(last + 1, round(times[count - 1] * _CLOCK))
            frame.pts, frame.time_base, frame.pict_type = last, codec.time_base, 0
            sound.write(until=times[count - 1])
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        sound.write(until=None)
    return count


def write_pictures(video: Decoder, folder: Path, short_side: int) -> int:
    """Write one JPEG file per frame, ``000000.jpg`` and so on, to an existing folder; return their number.

    Raises:
        VideoError: A frame cannot be decoded.
        OSError: A file cannot be written.
    """
    count = 0
    for count, frame in enumerate(small_frames(video, short_side), 1):
        frame.to_image().save(folder / f"{count - 1:06}.jpg", quality=JPEG_QUALITY)
    return count


def small_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return height and width with the short side reduced to ``short_side``; even, as 4:2:0 chroma requires.

    Example:
        >>> small_size(1080, 1920, 256), small_size(120, 161, 256)
        ((256, 456), (120, 160))
    """
    scale = min(1.0, short_side / min(height, width))
    small = (min(round(side * scale / 2) * 2, side // 2 * 2) for side in (height, width))
    return max(2, next(small)), max(2, next(small))


def small_frames(video: Decoder, short_side: int) -> Iterator[av.VideoFrame]:
    """Yield all frames in order, upright, yuv420p in limited range, with the short side limited to ``short_side``."""
    upright = Upright("yuv420p", functools.partial(small_size, short_side=short_side), ":out_range=tv")
    return map(upright, _frames(video))


def _frames(video: Decoder) -> Iterator[av.VideoFrame]:
    if isinstance(video, PyavDecoder):
        yield from video.stored_frames()
        return
    for start in range(0, video.num_frames, _BLOCK):
        block: Iterable[torch.Tensor] = video.frames(range(start, min(start + _BLOCK, video.num_frames)))
        for picture in block:
            yield av.VideoFrame.from_ndarray(picture.permute(1, 2, 0).contiguous().numpy(), format="rgb24")


class _Sound:
    """Audio of a video as a mono AAC stream, encoded along with the frames."""

    def __init__(self, source: str, container: av.container.OutputContainer) -> None:
        self.container, self.stream = container, None
        self.done = 0.0
        try:
            self.source = Sound(source)
            rate, self.seconds = self.source.length()
        except NoAudioError:
            return
        rate = rate if rate in _SOUND_RATES else _SOUND_RATES[-1]
        self.stream = container.add_stream("aac", rate=rate, layout="mono")

    def write(self, until: float | None) -> None:
        """Encode the audio up to a time in seconds; None: to the end."""
        if self.stream is None:
            return
        while self.done < self.seconds and (until is None or self.done <= until):
            end = min(self.done + _PIECE, self.seconds)
            wave = self.source.read(self.stream.rate, self.done, end).numpy()
            if len(wave):
                frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
                frame.sample_rate, frame.time_base = self.stream.rate, Fraction(1, self.stream.rate)
                frame.pts = round(self.done * self.stream.rate)
                self.container.mux(self.stream.encode(frame))
            self.done = end
        if until is None:
            self.container.mux(self.stream.encode(None))
