"""Convert batches from the data loader into model inputs, on the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vidcore.clip import ClipSpec
from vidcore.video.spectrogram import spectrogram

FLOW_MEAN, FLOW_STD = 0.5, (0.229 + 0.224 + 0.225) / 3
"""Mean and standard deviation of flow scaled to [0, 1]; 0.5 is no motion (AdaMML, after TSN, Wang et al. 2016)."""


def normalised(inputs: Mapping[str, Tensor], spec: ClipSpec) -> dict[str, Tensor]:
    """Convert uint8 images to float32 and normalise: (x − mean) / std; convert audio to ``spec.audio_form``.

    ``rgb`` and each difference of ``rgbdiff`` use the spec's mean and std, ``flow`` has its own. Inputs that are
    already float, or already a spectrogram, are unchanged.
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
