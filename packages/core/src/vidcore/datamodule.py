"""The LightningDataModule that every data set derives from, and the torch data set that it feeds."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from vidcore.batch import Batch
from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.hparams import make_plain
from vidcore.task import Task
from vidcore.video.audio import NoAudioError, read_audio
from vidcore.video.decoder import VideoError, open_video
from vidcore.video.sampling import Short, audio_windows, clip_indices
from vidcore.video.transforms import Augment, eval_transform, mix, train_transform

Split = Literal["train", "val", "test", "predict"]

READ_ATTEMPTS = 10
"""How many samples in a row may be unreadable before training gives up."""


@dataclass(frozen=True)
class Sample:
    """One labelled stretch of video.

    Args:
        path: The file.
        target: single_label: the class index; multi_label: the indices of all classes; detection: a mapping with
            ``boxes`` (N, 4) x1, y1, x2, y2 in pixels of the source frame, ``labels`` (N,) and ``frames`` (N,), the
            source frame that each box is in; None where nothing is labelled.
        id: Which video this is, in results; the path if not given.
        start: Where the stretch begins, in seconds; None: at the first frame.
        end: Where it ends, in seconds, exclusive; None: after the last frame.
    """

    path: str
    target: Any = None
    id: str = ""
    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", str(self.path))
        object.__setattr__(self, "id", self.id or self.path)


class VideoDataset(Dataset[dict[str, Any]]):
    """Samples as a model wants to see them; usable with a plain ``DataLoader`` and :meth:`collate`.

    Args:
        samples: What to read.
        task: How targets are to be understood; None: they are left out.
        spec: How clips are cut.
        train: Draw clip and transforms at random (from torch's generator, hence seeded in every worker) and pass over
            unreadable samples; otherwise everything is centred and an unreadable sample is reported and left out.
        augment: The random transforms of training.
        views: Clips a video, spread over time; evaluation only.
        crops: Crops a clip, 1 (centre) or 3 (along the longer side); evaluation only.
        short: What fills a clip that is longer than its video: ``loop`` starts again, ``clamp`` repeats the last frame.
        decoder: Which library reads the files, see :func:`vidcore.video.open_video`.
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
    ) -> None:
        unread = set(spec.modalities) - {"rgb", "audio"}
        if unread:
            raise UserError(f"modality {', '.join(sorted(unread))} cannot be read yet; rgb and audio can")
        if crops not in (1, 3):
            raise UserError(f"crops must be 1 or 3, not {crops}")
        if views < 1:
            raise UserError(f"views must be at least 1, not {views}")
        self.samples, self.task, self.spec, self.train = samples, task, spec, train
        self.augment, self.short, self.decoder = augment, short, decoder
        self.views = 1 if train else views
        self.transforms = (
            [train_transform(spec, augment)]
            if train
            else [eval_transform(spec, crops=crops, crop=crop) for crop in range(crops)]
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        errors: dict[str, str] = {}
        for attempt in range(READ_ATTEMPTS if self.train else 1):
            sample = self.samples[(index + attempt) % len(self)]
            try:
                return {**self.read(sample), "errors": errors}
            except (VideoError, UserError) as error:
                errors[sample.path] = str(error)
        if self.train:
            raise UserError(
                f"{READ_ATTEMPTS} samples in a row cannot be read; the last: {next(reversed(errors.values()))}"
            )
        return {"errors": errors}

    def read(self, sample: Sample) -> dict[str, Any]:
        """One sample: for its V views ``inputs["rgb"]`` (V, 3, T, H, W) uint8 and ``inputs["audio"]`` (V, S, N).

        Raises:
            VideoError: The file cannot be read.
        """
        rng = np.random.default_rng(int(torch.randint(2**62, ()))) if self.train else None
        inputs: dict[str, Tensor] = {}
        present: dict[str, bool] = {}
        target: Any = self._target(sample)
        if "rgb" in self.spec.modalities:
            with open_video(sample.path, self.decoder) as video:
                draw = functools.partial(
                    clip_indices,
                    np.asarray(video.times),
                    self.spec,
                    rng=rng,
                    views=self.views,
                    start=sample.start,
                    end=sample.end,
                    short=self.short,
                )
                indices = [draw(view=view) for view in range(self.views)]
                clips = video.frames(np.concatenate(indices).tolist()).split(self.spec.num_frames)
                views = []
                for clip in clips:
                    for transform in self.transforms:
                        if self.task is not None and self.task.kind == "detection" and sample.target is not None:
                            target = _boxes_of_clip(sample.target, indices[0], video.size)
                            view, target["boxes"] = transform((tv_tensors.Video(clip), target["boxes"]))
                            target = _without_vanished(target)
                        else:
                            view = transform(tv_tensors.Video(clip))
                        views.append(view.as_subclass(Tensor).transpose(0, 1))
                inputs["rgb"] = torch.stack(views)  # (V, 3, T, H, W)
        if "audio" in self.spec.modalities:
            sound, present["audio"] = self._sound(sample)
            inputs["audio"] = sound.expand(self.views * len(self.transforms), -1, -1)
        return {"inputs": inputs, "target": target, "id": sample.id, "present": present}

    def _target(self, sample: Sample) -> Any:
        if self.task is None or sample.target is None:
            return None
        if self.task.kind == "multi_label":
            return torch.zeros(self.task.num_classes).index_fill_(
                0, torch.tensor(list(sample.target), dtype=torch.long), 1
            )
        return sample.target

    def _sound(self, sample: Sample) -> tuple[Tensor, bool]:
        """(S, N) float32 around each segment's middle; silence and False where the file has no sound."""
        length = round(self.spec.audio_rate * self.spec.audio_seconds)
        start = sample.start or 0.0
        try:
            sound = read_audio(sample.path, self.spec.audio_rate, start, sample.end)
        except NoAudioError:
            return torch.zeros(self.spec.segments, length), False
        windows = audio_windows(len(sound) / self.spec.audio_rate, self.spec)
        pieces = []
        for window_start, _ in windows:
            first = round(window_start * self.spec.audio_rate)
            piece = torch.zeros(length)
            known = sound[max(first, 0) : first + length]
            offset = max(-first, 0)
            piece[offset : offset + len(known)] = known
            pieces.append(piece)
        return torch.stack(pieces), True

    def collate(self, items: Sequence[Mapping[str, Any]]) -> Batch:
        """Samples to a batch: views become rows that share their video's id; unreadable ones only leave their error."""
        errors = {path: error for item in items for path, error in item["errors"].items()}
        items = [item for item in items if "inputs" in item]
        batch = Batch(inputs={}, ids=[], errors=errors)
        if not items:
            return batch
        for modality in items[0]["inputs"]:
            batch["inputs"][modality] = torch.cat([item["inputs"][modality] for item in items])
        views = self.views * len(self.transforms)
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
                batch["inputs"]["rgb"], batch["target"] = mix(
                    batch["inputs"]["rgb"], batch["target"], self.task.num_classes, self.augment
                )
        return batch


def _boxes_of_clip(target: Mapping[str, Any], indices: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """The boxes of the clip's frames, with the frame of the clip in place of the source frame."""
    clip_frame, row = np.nonzero(np.asarray(indices)[:, None] == np.asarray(target["frames"])[None, :])
    boxes = torch.as_tensor(np.asarray(target["boxes"], dtype=np.float32).reshape(-1, 4)[row])
    return {
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),  # type: ignore[call-overload]
        "labels": torch.as_tensor(np.asarray(target["labels"], dtype=np.int64)[row]),
        "frames": torch.as_tensor(clip_frame),
    }


def _without_vanished(target: dict[str, Any]) -> dict[str, Tensor]:
    """Drops boxes of which the crop left less than a pixel in either direction."""
    boxes = target["boxes"].as_subclass(Tensor).float()
    keep = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    return {"boxes": boxes[keep], "labels": target["labels"][keep], "frames": target["frames"][keep]}


class VideoDataModule(LightningDataModule):
    """What every data set derives from; it gives :attr:`task` and :meth:`samples`, and has the rest from here.

    The clip spec comes from the model that the trainer runs, or from :attr:`clip_spec` where it was set by hand.

    Args:
        batch_size: Videos a step and process.
        num_workers: Processes that decode, a loader.
        augment: The random transforms of training.
        views: Clips a video in test and prediction, spread over time and averaged.
        crops: Crops a clip in test and prediction, 1 or 3.
        short: What fills a clip that is longer than its video: ``loop`` starts again, ``clamp`` repeats the last frame.
        decoder: ``pyav``, or ``torchcodec`` or ``decord`` where installed.
    """

    def __init__(
        self,
        *,
        batch_size: int = 8,
        num_workers: int = 2,
        augment: Augment = Augment(),
        views: int = 1,
        crops: int = 1,
        short: Short = "loop",
        decoder: str = "pyav",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        make_plain(self.hparams, type(self), "vidcore.data")
        self.batch_size, self.num_workers = batch_size, num_workers
        self.augment = augment if isinstance(augment, Augment) else Augment(**augment)
        self.views, self.crops, self.short, self.decoder = views, crops, short, decoder
        self.unreadable: dict[str, str] = {}
        """Every sample that could not be read so far: path to reason."""
        self._clip_spec: ClipSpec | None = None
        self._datasets: dict[str, VideoDataset] = {}

    @property
    def task(self) -> Task:
        """What there is to predict; from annotation files alone, without touching a video."""
        raise NotImplementedError(f"{type(self).__name__} defines no task")

    def samples(self, split: Split) -> Sequence[Sample]:
        """The samples of ``train``, ``val`` or ``test``, in an order that is the same every time."""
        raise NotImplementedError(f"{type(self).__name__} defines no samples")

    @property
    def clip_spec(self) -> ClipSpec:
        """How clips are cut: as set here, or as the trainer's model wants them."""
        if self._clip_spec is not None:
            return self._clip_spec
        model = getattr(self.trainer, "lightning_module", None)
        if model is None:
            raise UserError("no clip spec: pass the data to a trainer with a model, or set its clip_spec")
        return model.clip_spec

    @clip_spec.setter
    def clip_spec(self, spec: ClipSpec) -> None:
        self._clip_spec = spec

    def dataset(self, split: Split) -> VideoDataset:
        """The torch data set of one split.

        Raises:
            UserError: The split has no samples.
        """
        if split not in self._datasets:
            samples = self.samples(split)
            if not samples:
                raise UserError(f"{type(self).__name__}: split {split!r} has no samples")
            evaluation = {"views": self.views, "crops": self.crops} if split in ("test", "predict") else {}
            self._datasets[split] = VideoDataset(
                samples,
                None if split == "predict" else self.task,
                self.clip_spec,
                train=split == "train",
                augment=self.augment,
                short=self.short,
                decoder=self.decoder,
                **evaluation,
            )
        return self._datasets[split]

    def setup(self, stage: str) -> None:
        """Reads the annotations of the splits that ``stage`` (``fit``, ``validate``, ``test``, ``predict``) needs."""
        splits: dict[str, tuple[Split, ...]] = {
            "fit": ("train", "val"),
            "validate": ("val",),
            "test": ("test",),
            "predict": ("predict",),
        }
        sizes = [f"{split} {len(self.dataset(split))}" for split in splits[stage]]
        rank_zero_info(f"{type(self).__name__}: {', '.join(sizes)} samples")

    def _loader(self, split: Split) -> DataLoader[Any]:
        dataset = self.dataset(split)
        train = split == "train"
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=train,
            # A last batch of one video would upset batch normalisation.
            drop_last=train and len(dataset) >= self.batch_size,
            num_workers=self.num_workers,
            collate_fn=dataset.collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0 and split in ("train", "val"),
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled clips of ``train``, drawn and transformed at random."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        """One centred clip a video of ``val``."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """All views of each video of ``test``."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """All views of each video of ``predict``, unlabelled."""
        return self._loader("predict")

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Collects what the workers could not read."""
        for path, error in batch.get("errors", {}).items():
            if path not in self.unreadable:
                rank_zero_warn(f"passed over an unreadable sample: {error}")
            self.unreadable[path] = error
        return batch

    def teardown(self, stage: str) -> None:
        """Writes ``unreadable.csv`` into the run's folder where samples were passed over."""
        self._datasets.clear()
        folder = getattr(self.trainer, "log_dir", None)
        if not self.unreadable or folder is None or stage == "predict":
            return
        report = Path(folder) / f"unreadable_{self.trainer.global_rank}.csv"  # type: ignore[union-attr]
        report.parent.mkdir(parents=True, exist_ok=True)
        with report.open("w", newline="") as file:
            csv.writer(file).writerows([("path", "error"), *sorted(self.unreadable.items())])
        rank_zero_warn(f"{len(self.unreadable)} samples could not be read; they are listed in {report}")
