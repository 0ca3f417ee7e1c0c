"""The torch data set that reads samples as a model wants to see them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from vidcore.batch import Batch
from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.reading.index import INDEX, INDICES, MAPPING, SampleIndex
from vidcore.reading.sampler import Draw
from vidcore.sample import Sample
from vidcore.seeds import drawing_from, mixed
from vidcore.task import Task
from vidcore.video.audio import NoAudioError, read_audio_windows, silence
from vidcore.video.contrastive import contrastive_transforms
from vidcore.video.decoder import open_video
from vidcore.video.flow import FlowFields, FlowSource
from vidcore.video.pictures import Pictures
from vidcore.video.sampling import Short, audio_middles, clip_indices, middle_times
from vidcore.video.time_limit import TooSlowError, within
from vidcore.video.transforms import Augment, Flow, eval_transform, mix, train_transform

REPLACEMENTS = 10
"""How many other samples training tries in place of one that cannot be read."""


@dataclass
class _Decoded:
    """What decoders give for a sample."""

    clips: Sequence[Pictures] = ()
    frames: Sequence[Tensor] = ()
    """Of each clip those that it needs, (N, 3, H, W)."""
    size: tuple[int, int] = (0, 0)
    fields: FlowFields | None = None
    steps: Mapping[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Two frames for each field of flow that has to be computed."""
    sound: Tensor | None = None
    """Of each clip (S, N)."""


class VideoDataset(Dataset[dict[str, Any]]):
    """Samples as a model wants to see them; usable with a plain ``DataLoader`` and ``collate``.

    Args:
        samples: What to read.
        task: How targets are to be understood; None: they are left out.
        spec: How clips are cut; with ``pairs``, training gives two views of each video.
        train: Draw clip and transforms at random, and read another sample in place of one that cannot be read;
            otherwise everything is centred and an unreadable sample is reported and left out.
        augment: The random transforms of training.
        views: Clips a video, spread over time; evaluation only.
        crops: Crops a clip, 1 (centre) or 3 (along the longer side); evaluation only.
        short: What fills a clip that is longer than its video: ``loop`` starts again, ``clamp`` repeats the last frame.
        decoder: Which library reads the files, see [`vidcore.video.open_video`][vidcore.video.decoder.open_video].
        timeout: Seconds after which a sample counts as unreadable; this process does not try its file again. Computing
            flow does not count.
        flow: Where optical flow comes from, for models that take it.

    Raises:
        UserError: An option that does not fit, or a sample's target is none of the task's.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        task: Task | None,
        spec: ClipSpec,
        *,
        train: bool = False,
        augment: Augment = Augment(),
        views: int = 1,
        crops: int = 1,
        short: Short = "loop",
        decoder: str = "pyav",
        timeout: float = 60,
        flow: FlowSource = FlowSource(),
    ) -> None:
        if crops not in (1, 3):
            raise UserError(f"crops must be 1 or 3, not {crops}")
        if views < 1:
            raise UserError(f"views must be at least 1, not {views}")
        if spec.pairs and (spec.modalities != ("rgb",) or (task is not None and task.kind == "detection")):
            raise UserError(
                "pairs of clips are of rgb alone: they cannot have audio, flow or rgbdiff, nor boxes to detect"
            )
        samples = SampleIndex.of(samples)
        if task is not None:
            _check_targets(samples, task)
        self.samples, self.task, self.spec, self.train = samples, task, spec, train
        self.augment, self.short, self.decoder, self.timeout, self.flow = augment, short, decoder, timeout, flow
        # For each clip, the transforms that make views of it.
        if train and spec.pairs:
            self.transforms = [[transform] for transform in contrastive_transforms(spec, augment)]
        elif train:
            self.transforms = [[train_transform(spec, augment)]]
        else:
            self.transforms = [[eval_transform(spec, crops=crops, crop=crop) for crop in range(crops)]] * views
        self._too_slow: set[str] = set()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: int | Draw | None) -> dict[str, Any]:
        """A sample by its index, drawn from torch's generator or from the seed that comes with it; None: nothing."""
        if draw is None:
            return {"errors": {}}
        index, seed = draw if isinstance(draw, tuple) else (draw, None)
        errors: dict[str, str] = {}
        with drawing_from(seed):
            for _ in range(1 + REPLACEMENTS if self.train else 1):
                sample = self.samples[index]
                try:
                    return {**self.read(sample), "errors": errors, "seed": seed}
                except UserError as error:
                    errors[sample.path] = str(error)
                index = (index + int(torch.randint(1, max(2, len(self)), ()))) % len(self)  # another one
        return {"errors": errors}

    def read(self, sample: Sample) -> dict[str, Any]:
        """One sample: for its V views ``inputs["rgb"]`` (V, 3, T, H, W) uint8, ``inputs["audio"]`` (V, S, N) and so on.

        Raises:
            VideoError: The file cannot be read, or not in time.
            UserError: Its flow cannot be computed.
        """
        if sample.path in self._too_slow:
            raise TooSlowError(sample.path, self.timeout)
        rng = np.random.default_rng(int(torch.randint(2**62, ()))) if self.train else None
        try:
            decoded = within(self.timeout, sample.path, functools.partial(self._decode, sample, rng))
        except TooSlowError:
            self._too_slow.add(sample.path)
            raise
        for step, (before, after) in decoded.steps.items():
            assert decoded.fields is not None
            decoded.fields.compute(step, before, after)
        views: list[dict[str, Tensor]] = []
        present: dict[str, bool] = {}
        target: Any = self._target(sample)
        # There are no clips where a model listens only.
        for clip, frames, transforms in zip(decoded.clips, decoded.frames, self.transforms, strict=False):
            seen: dict[str, Any] = {"frames": tv_tensors.Video(frames)} if len(frames) else {}
            if decoded.fields is not None:
                seen["fields"] = Flow(decoded.fields.read(clip.fields))
            if self.task is not None and self.task.kind == "detection" and sample.target is not None:
                target = _boxes_of_clip(sample.target, clip.indices, decoded.size)
                seen["boxes"] = target["boxes"]
            for transform in transforms:
                made = transform(seen)
                if "boxes" in made:
                    target = _without_vanished({**target, "boxes": made.pop("boxes")})
                views.append(clip.inputs({name: value.as_subclass(Tensor) for name, value in made.items()}))
        inputs = {name: torch.stack([view[name] for view in views]) for name in (views[0] if views else ())}
        if "audio" in self.spec.modalities:
            present["audio"] = decoded.sound is not None
            sound = (
                decoded.sound if decoded.sound is not None else silence(self.spec).expand(len(self.transforms), -1, -1)
            )
            inputs["audio"] = sound.repeat_interleave(len(self.transforms[0]), dim=0)
        return {"inputs": inputs, "target": target, "id": sample.id, "present": present}

    def _decode(self, sample: Sample, rng: np.random.Generator | None) -> _Decoded:
        """Everything that a decoder does; it may hang, and draws nothing from torch."""
        decoded, views = _Decoded(), len(self.transforms)
        # Both of a pair are drawn uniformly: the density of their distance then falls linearly, as in CVRL.
        where: list[Any] = [{"rng": rng}] * views if rng else [{"view": view, "views": views} for view in range(views)]
        seen = self._decode_pictures(sample, where, decoded) if set(self.spec.modalities) != {"audio"} else None

        def middles(seconds: float) -> np.ndarray:
            if seen is not None:
                return seen
            return np.stack([audio_middles(seconds, self.spec, **place) for place in where])

        if "audio" in self.spec.modalities:
            with contextlib.suppress(NoAudioError):
                decoded.sound = read_audio_windows(sample.path, self.spec, sample.start or 0.0, sample.end, middles)
        return decoded

    def _decode_pictures(self, sample: Sample, where: Sequence[Any], decoded: _Decoded) -> np.ndarray:
        """Each frame in one pass; returns the middles (V, S) of the segments, in seconds from the sample's start."""
        with open_video(sample.path, self.decoder, sample.fps) as video:
            times, count = np.asarray(video.times), video.num_frames
            cut: dict[str, Any] = {"start": sample.start, "end": sample.end, "short": self.short}
            indices = [clip_indices(times, self.spec, **cut, **place) for place in where]
            first = 0 if sample.start is None else int(np.searchsorted(times, sample.start))
            last = count - 1 if sample.end is None else int(np.searchsorted(times, sample.end)) - 1
            clips = [Pictures(of_clip, self.spec, first, last) for of_clip in indices]
            steps = np.empty(0, np.int64)
            if "flow" in self.spec.modalities:
                decoded.fields = self.flow.fields(sample.path)
                steps = decoded.fields.missing(np.unique(np.concatenate([clip.fields for clip in clips])))
            following = np.minimum(steps + 1, count - 1)
            both = np.union1d(steps, following)
            parts = [*(clip.frames for clip in clips), both]
            *frames, of_flow = video.frames(np.concatenate(parts).tolist()).split([len(part) for part in parts])
        decoded.clips, decoded.frames, decoded.size = clips, frames, video.size
        decoded.steps = {
            int(step): (of_flow[i], of_flow[j])
            for step, i, j in zip(steps, *(np.searchsorted(both, side) for side in (steps, following)), strict=True)
        }
        return np.stack([middle_times(times, of_clip, self.spec) for of_clip in indices]) - (sample.start or 0.0)

    def _target(self, sample: Sample) -> Any:
        if self.task is None or sample.target is None:
            return None
        if self.task.kind == "multi_label":
            return torch.zeros(self.task.num_classes).index_fill_(
                0, torch.tensor(list(sample.target), dtype=torch.long), 1
            )
        return sample.target

    def collate(self, items: Sequence[Mapping[str, Any]]) -> Batch:
        """Samples to a batch: views become rows that share their video's id; unreadable ones only leave their error."""
        errors = {path: error for item in items for path, error in item["errors"].items()}
        items = [item for item in items if "inputs" in item]
        batch = Batch(inputs={}, ids=[], errors=errors)
        if not items:
            return batch
        for modality in items[0]["inputs"]:
            batch["inputs"][modality] = torch.cat([item["inputs"][modality] for item in items])
        views = len(next(iter(items[0]["inputs"].values())))
        batch["ids"] = [item["id"] for item in items for _ in range(views)]
        if items[0]["present"]:
            batch["present"] = {
                name: torch.tensor([item["present"][name] for item in items]).repeat_interleave(views)
                for name in items[0]["present"]
            }
        if items[0]["target"] is not None and self.task is not None:
            targets = [item["target"] for item in items for _ in range(views)]
            if self.task.kind == "single_label":
                batch["target"] = torch.tensor(targets)
            elif self.task.kind == "multi_label":
                batch["target"] = torch.stack(targets)
            else:
                batch["target"] = targets
            if self.train and self.task.kind != "detection" and (self.augment.mixup or self.augment.cutmix):
                seed = items[0]["seed"]
                with drawing_from(None if seed is None else mixed(seed, 1)):
                    batch["inputs"]["rgb"], batch["target"] = mix(
                        batch["inputs"]["rgb"], batch["target"], self.task.num_classes, self.augment
                    )
        return batch


def _boxes_of_clip(target: Mapping[str, Any], indices: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """The boxes of the clip's frames, with the frame of the clip in place of the source frame."""
    clip_frame, row = np.nonzero(np.asarray(indices)[:, None] == np.asarray(target["frames"])[None, :])
    boxes = torch.as_tensor(np.asarray(target["boxes"], dtype=np.float32).reshape(-1, 4)[row])
    return {
        **{name: torch.as_tensor(np.asarray(values)[row]) for name, values in target.items()},
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),  # type: ignore[call-overload]
        "labels": torch.as_tensor(np.asarray(target["labels"], dtype=np.int64)[row]),
        "frames": torch.as_tensor(clip_frame),
    }


def _without_vanished(target: Mapping[str, Any]) -> dict[str, Tensor]:
    """Drops boxes of which the crop left less than a pixel in either direction."""
    boxes = target["boxes"].as_subclass(Tensor).float()
    keep = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    return {name: values[keep] for name, values in {**target, "boxes": boxes}.items()}


def _check_targets(samples: SampleIndex, task: Task) -> None:
    labels, rows = samples.labels
    wrong = samples.kinds != {"single_label": INDEX, "multi_label": INDICES, "detection": MAPPING}[task.kind]
    wrong[rows[(labels < 0) | (labels >= task.num_classes)]] = True
    if not wrong.any():
        return
    sample = samples[int(wrong.argmax())]
    if sample.target is None:
        raise UserError(f"{sample.path} has no label")
    some = ", ".join(task.classes[:5]) + (", …" if task.num_classes > 5 else "")
    raise UserError(
        f"{sample.path} is labelled {sample.target!r}, which is no class: "
        f"labels go from 0 to {task.num_classes - 1} ({some})"
    )
