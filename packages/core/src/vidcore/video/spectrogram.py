"""Spectrograms of sound."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vidcore.clip import ClipSpec

FLOOR = 1e-6
"""Added to the power before its logarithm is taken: silence is ln(1e-6), about -13.8."""

N_FFT = 511
"""Of ``log_power``: 256 frequencies, and an odd number, with which 1.28 s at 24 kHz have 256 columns, not 257."""

MEL_N_FFT = 2048
MELS = 128
"""Of ``log_mel``: the bands; with so many points of the transform none is too narrow to hold a frequency."""


def spectrogram(wave: Tensor, spec: ClipSpec) -> Tensor:
    r"""The spectrogram that ``spec.audio_form`` names, on the device that the sound is on.

    ``log_power`` is AdaMML's (Panda et al. 2021; its published code): ln(\|X\|² + 1e-6) of a Fourier transform of 511
    points, of a Hann window of 10 ms every 5 ms, frequencies evenly spaced from 0. ``log_mel`` is ln(power + 1e-6) in
    128 mel bands from 0 to half the rate, of a window of 25 ms every 10 ms. Windows are periodic, padded with zeros to
    the transform's length, and centred on their column; before and after the sound there is silence.

    It is computed in double precision where the device has it: in single precision, what is quiet beside something loud
    is wrong by up to 0.002.

    Args:
        wave: (…, N) in [-1, 1], at ``spec.audio_rate``.
        spec: Gives the form and the rate.

    Returns:
        float32 (…, frequencies, columns), the lowest frequency first: (…, 256, 256) for 1.28 s at 24 kHz in
        ``log_power``, (…, 128, 129) in ``log_mel``.
    """
    n_fft, window, hop = (MEL_N_FFT, 0.025, 0.010) if spec.audio_form == "log_mel" else (N_FFT, 0.010, 0.005)
    length = round(window * spec.audio_rate)
    # Apple's GPUs know no double precision.
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
    """Triangles that sum the power of 1025 frequencies up into 128 mel bands: float64 (128, 1025).

    Each rises from the middle of the band below to 1 at its own and falls to that of the band above; the middles are
    evenly spaced on the scale mel = 2595 · log10(1 + f / 700) from 0 to half the rate in Hz.
    """
    frequencies = torch.linspace(0, rate / 2, MEL_N_FFT // 2 + 1, dtype=torch.float64)
    mels = torch.linspace(0, 2595 * math.log10(1 + rate / 1400), MELS + 2, dtype=torch.float64)
    middles = 700 * (10 ** (mels / 2595) - 1)
    slopes = (frequencies - middles[:, None]) / middles.diff(append=middles[-1:])[:, None]  # (130, 1025), from below
    rising, falling = slopes[:-2], 1 - slopes[1:-1]
    return torch.minimum(rising, falling).clamp(min=0)
