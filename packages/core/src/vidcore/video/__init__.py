"""Reading, sampling, transforming and writing video."""

from vidcore.video.audio import NoAudioError, read_audio
from vidcore.video.contrastive import contrastive_transforms
from vidcore.video.decoder import Decoder, VideoError, installed_backends, open_video
from vidcore.video.encode import write_video
from vidcore.video.sampling import audio_windows, clip_indices
from vidcore.video.transforms import Augment, eval_transform, mix, train_transform

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
