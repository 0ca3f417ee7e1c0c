"""Spectrograms of audio."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vidcore.clip import ClipSpec

FLOOR = 1e-6
"""Added to the power before the logarithm: silence is ln(1e-6), about -13.8."""

N_FFT = 511
"""FFT size of ``log_power``: 256 frequencies; odd, so that 1.28 s at 24 kHz has 256 columns instead of 257."""

MEL_N_FFT = 2048
MELS = 128
"""Of ``log_mel``: the bands; with so many points of the transform none is too narrow to hold a frequency."""


def spectrogram(wave: Tensor, spec: ClipSpec) -> Tensor:
    r"""Compute the spectrogram of type ``spec.audio_form`` on the device of ``wave``.

    ``log_power`` is AdaMML's (Panda et al. 2021; its published code): ln(\|X\|² + 1e-6) of an FFT of 511 points with a
    Hann window of 10 ms every 5 ms; frequencies are evenly spaced from 0. ``log_mel`` is ln(power + 1e-6) in 128 mel
    bands from 0 to half the sampling rate, with a window of 25 ms every 10 ms. Windows are periodic, zero-padded to the
    FFT size, and centred on their column; the audio is padded with silence.

    Computed in double precision if the device supports it: in single precision, quiet frequencies beside loud ones are
    off by up to 0.002.

    Args:
        wave: (…, N) in [-1, 1], at ``spec.audio_rate``.
        spec: Clip spec; defines the type and the rate.

    Returns:
        float32 (…, frequencies, columns), lowest frequency first: (…, 256, 256) for 1.28 s at 24 kHz with
        ``log_power``, (…, 128, 129) with ``log_mel``.
    """
    n_fft, window, hop = (MEL_N_FFT, 0.025, 0.010) if spec.audio_form == "log_mel" else (N_FFT, 0.010, 0.005)
    length = round(window * spec.audio_rate)
    # Apple's GPUs do not support double precision.
    signal = wave.reshape(-1, wave.shape[-1]).to(torch.float32 if wave.device.type == "mps" else torch.float64)
    spectrum = torch.stft(
        signal,
        n_fft,
        hop_length=round(hop * spec.audio_rate),
        win_length=length,
        window=torch.hann_window(length, dtype=signal.dtype, device=signal.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.real**2 + spectrum.imag**2
    if spec.audio_form == "log_mel":
        power = mel_filters(spec.audio_rate).to(power) @ power
    return torch.log(power + FLOOR).float().reshape(*wave.shape[:-1], *power.shape[-2:])


def mel_filters(rate: int) -> Tensor:
    """Return triangular filters from 1025 frequencies to 128 mel bands: float64 (128, 1025).

    Each rises from the centre of the band below to 1 at its own centre and falls to 0 at the centre of the band above.
    The centres are evenly spaced on the scale mel = 2595 · log10(1 + f / 700) from 0 to half the sampling rate in Hz.
    """
    frequencies = torch.linspace(0, rate / 2, MEL_N_FFT // 2 + 1, dtype=torch.float64)
    mels = torch.linspace(0, 2595 * math.log10(1 + rate / 1400), MELS + 2, dtype=torch.float64)
    middles = 700 * (10 ** (mels / 2595) - 1)
    slopes = (frequencies - middles[:, None]) / middles.diff(append=middles[-1:])[:, None]  # (130, 1025), from below
    rising, falling = slopes[:-2], 1 - slopes[1:-1]
    return torch.minimum(rising, falling).clamp(min=0)
