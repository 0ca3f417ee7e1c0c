"""Read, sample, transform and write video."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidcore.video.audio import NoAudioError, read_audio
    from vidcore.video.contrastive import contrastive_transforms
    from vidcore.video.decoder import Decoder, VideoError, installed_backends, open_video
    from vidcore.video.encode import write_video
    from vidcore.video.sampling import audio_windows, clip_indices
    from vidcore.video.transforms import Augment, eval_transform, mix, train_transform

# These import torch, which `vid data check` must not.
_LAZY = {
    "Augment": "vidcore.video.transforms",
    "Decoder": "vidcore.video.decoder",
    "NoAudioError": "vidcore.video.audio",
    "VideoError": "vidcore.video.decoder",
    "audio_windows": "vidcore.video.sampling",
    "clip_indices": "vidcore.video.sampling",
    "contrastive_transforms": "vidcore.video.contrastive",
    "eval_transform": "vidcore.video.transforms",
    "installed_backends": "vidcore.video.decoder",
    "mix": "vidcore.video.transforms",
    "open_video": "vidcore.video.decoder",
    "read_audio": "vidcore.video.audio",
    "train_transform": "vidcore.video.transforms",
    "write_video": "vidcore.video.encode",
}

__all__ = [
    "Augment",
    "Decoder",
    "NoAudioError",
    "VideoError",
    "audio_windows",
    "clip_indices",
    "contrastive_transforms",
    "eval_transform",
    "installed_backends",
    "mix",
    "open_video",
    "read_audio",
    "train_transform",
    "write_video",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'vidcore.video' has no attribute {name!r}")
