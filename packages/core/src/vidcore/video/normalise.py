"""From what a data loader gives to what a model computes with, on the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vidcore.clip import ClipSpec
from vidcore.video.spectrogram import spectrogram

FLOW_MEAN, FLOW_STD = 0.5, (0.229 + 0.224 + 0.225) / 3
"""Of flow in units of the [0, 1] range, whose middle is no motion (AdaMML, after TSN, Wang et al. 2016)."""


def normalised(inputs: Mapping[str, Tensor], spec: ClipSpec) -> dict[str, Tensor]:
    """uint8 pictures as float32, less their mean and divided by their standard deviation; sound in the form wanted.

    ``rgb`` and each difference of ``rgbdiff`` have the spec's mean and std, ``flow`` has its own. What is float
    already, or a spectrogram already, stays as it is.
    """
    constants = {
        "rgb": (spec.mean, spec.std),
        "rgbdiff": (spec.mean * spec.stack, spec.std * spec.stack),
        "flow": ((FLOW_MEAN,), (FLOW_STD,)),
    }
    done = dict(inputs)
    for name, value in inputs.items():
        if name in constants and value.dtype == torch.uint8:
            mean, std = (torch.tensor(part, device=value.device).reshape(-1, 1, 1, 1) for part in constants[name])
            done[name] = (value.float() / 255 - mean) / std
        elif name == "audio" and spec.audio_form != "wave" and value.ndim == 3:
            done[name] = spectrogram(value, spec)
    return done
