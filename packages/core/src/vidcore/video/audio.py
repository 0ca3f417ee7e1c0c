"""Read the audio of a video or audio file as a mono waveform."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator
from typing import cast

import av
import numpy as np
import torch
from av.container import InputContainer
from torch import Tensor

from vidcore.clip import ClipSpec
from vidcore.files import is_pictures
from vidcore.video.clock import Clock, joinable
from vidcore.video.container import open_container
from vidcore.video.decoder import VideoError
from vidcore.video.pyav import AV_ERRORS
from vidcore.video.sampling import audio_middles, audio_windows
from vidcore.video.source import opened
from vidcore.video.time_limit import check_time, remaining

# Seconds decoded before the requested start: codecs need a few packets to settle after a seek.
_PREROLL = 0.5
# A longer gap in seconds is a damaged timestamp; filling it with silence would exhaust the memory.
_GAP = 3600.0
# Up to this many seconds of audio are read completely instead of window by window.
_WHOLE = 60.0
# Delay of a resampler in samples.
_DELAY = 64


class NoAudioError(VideoError):
    """The file has no audio stream. The message names the file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, "has no audio stream")


def read_audio(path: str | os.PathLike[str], rate: int, start: float = 0.0, end: float | None = None) -> Tensor:
    """Read the audio from ``start`` to ``end`` seconds, on the time axis of ``Decoder.times``.

    Channels are averaged. Gaps, a late start and an early end of the stream are filled with silence.

    Args:
        path: Video or audio file.
        rate: Sampling rate of the result in Hz.
        start: Start in seconds. Default: 0.
        end: End in seconds. Default: end of the audio.

    Returns:
        float32 (N,) in [-1, 1]; N = round((end - start) · rate) if ``end`` is given.

    Raises:
        NoAudioError: There is no audio stream.
        VideoError: The file is missing or damaged.
        ValueError: ``start`` is negative, ``end`` is before ``start``, or ``rate`` is not positive.
    """
    return Sound(path).read(rate, start, end)


def read_audio_windows(
    path: str | os.PathLike[str],
    spec: ClipSpec,
    start: float = 0.0,
    end: float | None = None,
    middles: Callable[[float], np.ndarray] | None = None,
) -> Tensor:
    """Read the audio windows of a clip's segments, see [`audio_windows`][vidcore.video.sampling.audio_windows].

    If the requested part is longer than a minute, only the windows are decoded, and its length is taken from the
    container. Audio shorter than a window is repeated, as in AdaMML.

    Args:
        path: Video or audio file.
        spec: Clip spec; defines the number of windows S, their length and the rate.
        start: Start of the requested part in seconds. Default: 0.
        end: End of the requested part in seconds. Default: end of the audio.
        middles: Function from the length of the audio in seconds to the centres of the windows in seconds from
            ``start``, an array of any shape. Default: [`audio_middles`][vidcore.video.sampling.audio_middles].

    Returns:
        float32 in [-1, 1], in the shape of the centres plus N samples: (S, N) by default.

    Raises:
        NoAudioError: There is no audio stream, or ``path`` is an image or a folder of images.
        VideoError: The file is missing or damaged.
    """
    rate, length = spec.audio_rate, round(spec.audio_rate * spec.audio_seconds)
    middles = middles or functools.partial(audio_middles, spec=spec)
    sound_file = Sound(path)
    seconds = (end if end is not None else sound_file.length()[1]) - start
    if seconds > _WHOLE:
        wanted = middles(seconds)
        windows = audio_windows(seconds, wanted.ravel(), spec)
        pieces = [
            sound_file.read(rate, start + first, start + first + spec.audio_seconds)[:length] for first in windows
        ]
    else:
        sound = sound_file.read(rate, start, end)
        wanted = middles(len(sound) / rate)
        firsts = [round(first * rate) for first in audio_windows(len(sound) / rate, wanted.ravel(), spec)]
        if len(sound) < length:
            sound = sound.repeat(-(-length // len(sound))) if len(sound) else torch.zeros(length)
        pieces = [sound[min(first, len(sound) - length) :][:length] for first in firsts]
    return torch.stack(pieces).reshape(*wanted.shape, length)


def silence(spec: ClipSpec) -> Tensor:
    """Return (S, N) zeros: the result of ``read_audio_windows`` for a silent file."""
    return torch.zeros(spec.segments, round(spec.audio_rate * spec.audio_seconds))


class Sound:
    """First audio stream of a file.

    Args:
        path: Video or audio file.

    Raises:
        NoAudioError: ``path`` is an image or a folder of images.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if is_pictures(path):
            raise NoAudioError(path)
        self.path = path
        self._clock: Clock | None = None

    def length(self) -> tuple[int, float]:
        """Return the rate in Hz and the end of the audio in seconds on the frames' time axis; rate 0 if it is empty.

        Raises:
            NoAudioError: There is no audio stream.
            VideoError: The file is missing or damaged.
        """
        try:
            container, clock = self._open()
            with container:
                stream = container.streams.audio[0]
                seconds = (container.duration or 0) / av.time_base
                if joinable(container):
                    seconds = clock.end(stream)
                elif stream.duration is not None and stream.time_base is not None:
                    seconds = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - clock.zero
                rate = stream.rate or next((frame.sample_rate for frame in _decode(container, clock)), 0)
                return rate, seconds
        except AV_ERRORS as error:
            raise VideoError(self.path, getattr(error, "strerror", None) or error) from error

    def read(self, rate: int, start: float = 0.0, end: float | None = None) -> Tensor:
        """Read part of the audio, see [`read_audio`][vidcore.video.audio.read_audio]."""
        if rate <= 0 or start < 0 or (end is not None and end < start):
            raise ValueError(f"cannot read sound from {start} to {end} s at {rate} Hz")
        # Start at a whole second, where the sample grids of source and result coincide, so that a window has the same
        # samples as in the complete audio. At least one second lies before it, for the resampling filter to settle.
        origin = max(0, math.floor(start) - 1)
        try:
            container, clock = self._open()
            with container:
                wave, source_rate = _read_mono(self.path, container, clock, origin, None if end is None else end + 1)
            wave = _resample(wave, source_rate, rate)
        except AV_ERRORS as error:
            raise VideoError(self.path, getattr(error, "strerror", None) or error) from error
        first = round((start - origin) * rate)
        wave = wave[first : None if end is None else first + round((end - start) * rate)]
        if end is not None:
            wave = np.pad(wave, (0, round((end - start) * rate) - len(wave)))
        return torch.from_numpy(np.clip(wave, -1, 1))

    def _open(self) -> tuple[InputContainer, Clock]:
        container = open_container(opened(self.path), remaining())
        if not container.streams.audio:
            container.close()
            raise NoAudioError(self.path)
        if self._clock is None:
            self._clock = Clock(container)
            if joinable(container):
                with container:
                    for _ in self._clock.packets(container.streams.audio[0]):
                        check_time(self.path)
                return self._open()
        return container, self._clock


def _read_mono(
    path: str | os.PathLike[str], container: InputContainer, clock: Clock, start: float, end: float | None
) -> tuple[np.ndarray, int]:
    """Decode to a waveform at the source's rate; sample 0 is at ``start`` seconds."""
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise ValueError("has an audio stream with an unknown codec")
    base = float(stream.time_base or 1 / av.time_base)
    rate = stream.rate
    if start > 0 and not clock.joined:
        container.seek(int((start - _PREROLL + clock.zero) / base), stream=stream)
    pieces: list[tuple[int, np.ndarray]] = []
    following, kind, to_float = 0, None, None
    for frame in _decode(container, clock):
        check_time(path)
        rate = rate or frame.sample_rate  # unknown before the first frame if the audio starts late
        # Timestamps may be too coarse for samples (1 ms in Matroska): use the sample count unless they diverge.
        place = following if frame.pts is None else round((frame.pts * base - clock.zero - start) * rate)
        gap = place - following
        near = max(1, math.ceil(base * rate), _DELAY if frame.sample_rate != rate else 0)
        if gap > _GAP * rate or (pieces and abs(gap) <= near):
            place = following
        if end is not None and place >= (end - start) * rate:
            break
        if to_float is None or kind != (frame.format.name, frame.layout.name, frame.sample_rate):
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            to_float = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate)
        blocks = [block.to_ndarray().mean(axis=0) for block in to_float.resample(frame)]
        pieces.append((place, np.concatenate(blocks) if blocks else np.empty(0, np.float32)))
        following = place + len(pieces[-1][1])
    length = max((place + len(samples) for place, samples in pieces), default=0)
    wave = np.zeros(max(length, 0), np.float32)
    for place, samples in pieces:
        samples = samples[max(0, -place) :]
        wave[max(0, place) : max(0, place) + len(samples)] = samples
    return wave, rate


def _decode(container: InputContainer, clock: Clock) -> Iterator[av.AudioFrame]:
    stream = container.streams.audio[0]
    passed = av.FFmpegError if joinable(container) else ()
    for packet in clock.correct(container.demux(stream)):
        try:
            frames = packet.decode()
        except passed:
            continue
        yield from cast(list[av.AudioFrame], frames)


def _resample(wave: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
    if rate == source_rate or not len(wave):
        return wave
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None]), format="fltp", layout="mono")
    frame.sample_rate = source_rate
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray()[0] for part in parts])
