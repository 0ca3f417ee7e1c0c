"""What a model wants to be fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypedDict, get_args

from vidcore.errors import OptionError, UserError
from vidcore.ranges import check_choice, check_ranges

Modality = Literal["rgb", "rgbdiff", "flow", "audio"]
AudioForm = Literal["wave", "log_power", "log_mel"]

_RANGES = {
    **dict.fromkeys(("segments", "frames", "size", "short_side", "stack"), "[1, 10000]"),
    "stride": "[1, 1000000]",
    "fps": "(0, 1000]",
    "mean": "(-inf, inf)",
    "std": "(0, inf)",
    "audio_rate": "[1, 1000000]",
    "audio_seconds": "(0, 3600]",
}


@dataclass(frozen=True)
class ClipSpec:
    """How a clip is cut from a video, and in what form a model gets it.

    The clip has ``segments`` spread evenly over the video, each of ``frames`` frames that are ``stride`` source
    frames apart, or ``1 / fps`` seconds apart where ``fps`` is set. TSN sampling is ``frames=1``; a dense clip is
    ``segments=1``.

    Args:
        segments: Number of segments S.
        frames: Frames a segment F; a model sees T = S·F frames in time order.
        stride: Distance of neighbouring frames of a segment, in source frames; unused where ``fps`` is set.
        fps: Rate in Hz that the frames of a segment are resampled to, so that clips of videos of different rates
            last equally long.
        size: Height and width in pixels of the crop that the model sees.
        short_side: The short side in pixels to which evaluation resizes before the centre crop; ``size`` if not set.
        modalities: Which inputs the model takes.
        mean: Subtracted from each colour channel, in units of the [0, 1] range.
        std: By which each colour channel is then divided.
        stack: Of how many steps, each from one source frame to the next, a time point of ``rgbdiff`` and ``flow`` is.
        audio_rate: Rate in Hz that sound is resampled to.
        audio_seconds: Length of the stretch of sound around each segment's middle.
        audio_form: What a model gets of it: the ``wave``, or a spectrogram, ``log_power`` or ``log_mel``, see
            [`vidcore.video.spectrogram.spectrogram`][].
        pairs: For contrastive learning: training and validation give two clips of each video, as two rows of the batch,
            one after the other, with the same id. In training each is drawn and transformed by itself, see
            [`vidcore.video.contrastive`][]; in validation they are the earliest and the latest, cropped in the centre.

    Raises:
        OptionError: A value outside its range or its choices, a short side below the crop, a rate too high for the form
            of sound, or pairs of clips of several segments.
    """

    segments: int = 1
    frames: int = 16
    stride: int = 1
    fps: float | None = None
    size: int = 224
    short_side: int | None = None
    modalities: tuple[Modality, ...] = ("rgb",)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    stack: int = 5
    audio_rate: int = 16_000
    audio_seconds: float = 1.0
    audio_form: AudioForm = "wave"
    pairs: bool = False

    def __post_init__(self) -> None:
        for name in ("modalities", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_ranges(vars(self), _RANGES, "clip.")
        if self.short_side is not None and self.short_side < self.size:
            raise OptionError(f"clip.short_side must be at least the crop's size {self.size}, got {self.short_side}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3:
                raise OptionError(f"clip.{name} must have 3 numbers, got {list(getattr(self, name))}")
        if not self.modalities:
            raise OptionError(f"clip.modalities must have one or more of {', '.join(get_args(Modality))}")
        for modality in self.modalities:
            check_choice("clip.modalities", modality, get_args(Modality))
        check_choice("clip.audio_form", self.audio_form, get_args(AudioForm))
        if self.audio_form != "wave" and self.audio_rate > 48_000:
            raise OptionError(f"clip.audio_rate must be at most 48000, or audio_form wave, got {self.audio_rate}")
        if self.pairs and self.segments != 1:
            raise OptionError(f"clip.pairs need clips of one segment, got segments {self.segments}")

    @property
    def num_frames(self) -> int:
        """T = S·F, the frames that a model sees."""
        return self.segments * self.frames

    @property
    def resize(self) -> int:
        """The short side in pixels to which evaluation resizes before the centre crop."""
        return self.short_side or self.size


class ClipFields(TypedDict, total=False):
    """Fields of a ``ClipSpec`` to replace, typed for the command line: ``--model.clip.frames 8``.

    A stride replaces a rate, so that there is no need to unset ``fps``.
    """

    segments: int
    frames: int
    stride: int
    fps: float
    size: int
    short_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def replaced(spec: ClipSpec, changes: Mapping[str, Any]) -> ClipSpec:
    """The spec with some fields replaced; the margin around the crop keeps its proportion.

    Raises:
        OptionError: A value that does not fit.
        UserError: An unknown field.
    """
    known = [field.name for field in fields(ClipSpec)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise UserError(f"clip has no field {', '.join(unknown)}; it has {', '.join(known)}")
    if "stride" in changes:
        changes = {"fps": None, **changes}
    if "size" in changes and "short_side" not in changes and spec.short_side:
        changes = {**changes, "short_side": round(changes["size"] * spec.short_side / spec.size)}
    try:
        return replace(spec, **changes)
    except TypeError as error:
        raise OptionError(f"clip: {error}") from error
