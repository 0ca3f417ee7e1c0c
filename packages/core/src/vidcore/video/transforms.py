"""Crop, resize and augment clips, with the same random parameters for all frames and all inputs of a sample.

A transform accepts and returns any nesting of dicts, lists and tuples, as torchvision's do. It transforms
``tv_tensors.Video`` (T, C, H, W) uint8, [`Flow`][vidcore.video.transforms.Flow] and ``tv_tensors.BoundingBoxes``;
everything else, such as audio, is returned unchanged. Flow may differ from the frames in size; it is cropped at the
same place. Boxes are clipped to the crop; a box outside the crop gets zero area. Transforms draw from torch's global
generator, which a data loader seeds in each worker.

Decoders return frames in channels-last memory format, and transforms keep it: uint8 resizing is then about twice as
fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from vidcore.clip import ClipSpec
from vidcore.errors import OptionError, UserError
from vidcore.ranges import check_ranges


class Flow(tv_tensors.Video):
    """Fields of optical flow (T, 2, H, W) uint8, x and y, see ``vidcore.video.flow.quantised``.

    A horizontal flip negates x. Resizing does not change the values, as in TSN: they remain pixels of the source.
    """


@v2.functional.register_kernel(F.horizontal_flip, Flow)
def _mirrored_flow(flow: Tensor) -> Tensor:
    mirrored = flow.as_subclass(Tensor).flip(-1)
    mirrored[..., 0, :, :] = 255 - mirrored[..., 0, :, :]
    return mirrored.as_subclass(Flow)


@dataclass(frozen=True)
class Augment:
    """Random transforms of training samples.

    Args:
        scale: Minimum and maximum area of the random crop, as share of the frame's. Default: (0.3, 1).
        ratio: Minimum and maximum aspect ratio (width / height) of the random crop. Default: (3/4, 4/3).
        hflip: Probability of a horizontal flip; set 0 if left and right distinguish classes. Default: 0.5.
        autoaugment: Whether to apply AutoAugment's policy for ImageNet (Cubuk et al. 2019). Default: False.
        randaugment: Magnitude, 1 to 30, of two RandAugment operations (Cubuk et al. 2020); 0 for none. Default: 0.
        mixup: Alpha of mixup's Beta distribution (Zhang et al. 2018); 0 for none. Default: 0.
        cutmix: Alpha of CutMix's Beta distribution (Yun et al. 2019); 0 for none. If both are set, one is chosen per
            batch with equal probability. Default: 0.
        erasing: Probability that a random rectangle is black in all frames (Zhong et al. 2020). Default: 0.

    Raises:
        OptionError: A value is out of range.
    """

    RANGES: ClassVar[dict[str, str]] = {
        "scale": "(0, 1]",
        "ratio": "(0, inf)",
        "hflip": "[0, 1]",
        "randaugment": "[0, 30]",
        "mixup": "[0, inf)",
        "cutmix": "[0, inf)",
        "erasing": "[0, 1]",
    }

    scale: tuple[float, float] = (0.3, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    autoaugment: bool = False
    randaugment: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    erasing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "ratio"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_ranges(vars(self), self.RANGES, "augment.")
        for name in ("scale", "ratio"):
            pair = getattr(self, name)
            if len(pair) != 2 or pair[0] > pair[1]:
                raise OptionError(f"augment.{name} must be two numbers, the smaller first, got {list(pair)}")


def train_transform(spec: ClipSpec, augment: Augment) -> v2.Compose:
    """Build the training transform: random crop resized to ``spec.size``, flip, AutoAugment, RandAugment, erasing.

    Args:
        spec: Clip spec; defines the crop size and the modalities.
        augment: Options; mixup and CutMix are applied to batches by [`mix`][vidcore.video.transforms.mix].

    Returns:
        A picklable transform, see [`vidcore.video.transforms`][].

    Raises:
        UserError: An augmentation is not supported with one of the modalities. The transform itself raises it if
            RandAugment is applied to boxes.
    """
    others = ", ".join(name for name in spec.modalities if name != "rgb")
    if others and (augment.mixup or augment.cutmix):
        raise UserError(f"mixup and cutmix require RGB-only input, this model also uses {others}: set both to 0")
    if "flow" in spec.modalities and (augment.autoaugment or augment.randaugment or augment.erasing):
        # Shearing and rotation would have to change the vectors too, and a black rectangle would be fast motion.
        raise UserError("autoaugment, randaugment and erasing are not supported with flow: set all three to 0")
    # Crop first: the following steps then process fewer pixels.
    steps: list[torch.nn.Module] = [
        _RandomResizedCrop(spec.size, scale=augment.scale, ratio=augment.ratio, antialias=True),
        v2.RandomHorizontalFlip(augment.hflip),
    ]
    if augment.autoaugment:
        steps.append(_AsOneVideo(v2.AutoAugment(interpolation=v2.InterpolationMode.BILINEAR)))
    if augment.randaugment:
        rand_augment = v2.RandAugment(magnitude=augment.randaugment, interpolation=v2.InterpolationMode.BILINEAR)
        steps.append(_AsOneVideo(rand_augment))
    if augment.erasing:
        steps.append(_AsOneVideo(v2.RandomErasing(augment.erasing)))
    return v2.Compose(steps)


def eval_transform(spec: ClipSpec, crops: int = 1, crop: int = 0) -> v2.Compose:
    """Build the evaluation transform: resize the short side to ``spec.resize``, then crop a square of ``spec.size``.

    Args:
        spec: Clip spec; defines both sizes.
        crops: 1 for a centre crop; 3 for crops at the start, middle and end of the longer side. Default: 1.
        crop: Index of the crop, from 0.

    Returns:
        A picklable transform, see [`vidcore.video.transforms`][].

    Raises:
        ValueError: ``crops`` is neither 1 nor 3, or ``crop`` is not in [0, crops).
    """
    if crops not in (1, 3) or not 0 <= crop < crops:
        raise ValueError(f"crops must be 1 or 3 and crop in [0, crops), got crops={crops} and crop={crop}")
    return v2.Compose([v2.Resize(spec.resize, antialias=True), _SquareCrop(spec.size, crop / 2 if crops == 3 else 0.5)])


class _RandomResizedCrop(v2.RandomResizedCrop):
    """Draw the crop for the first input; crop inputs of another size at the same place, to within a pixel."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"crop": super().make_params(flat_inputs[:1]), "of": F.get_size(flat_inputs[0])}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        crop = params["crop"]
        for side, start, mine, first in zip(
            ("height", "width"), ("top", "left"), F.get_size(inpt), params["of"], strict=True
        ):
            if mine != first:
                extent = max(1, round(crop[side] * mine / first))
                crop = {**crop, side: extent, start: min(round(crop[start] * mine / first), mine - extent)}
        return super().transform(inpt, crop)


class _SquareCrop(torch.nn.Module):
    """Crop a square at ``place`` in [0, 1] along the longer side, centred on the other."""

    def __init__(self, size: int, place: float) -> None:
        super().__init__()
        self.size, self.place = size, place

    def forward(self, *sample: Any) -> Any:
        return tree_map(self._crop, sample if len(sample) > 1 else sample[0])

    def _crop(self, leaf: Any) -> Any:
        if not isinstance(leaf, tv_tensors.TVTensor):
            return leaf
        height, width = F.get_size(leaf)
        top = round((height - self.size) * (self.place if height > width else 0.5))
        left = round((width - self.size) * (0.5 if height > width else self.place))
        return F.crop(leaf, top, left, self.size, self.size)


class _AsOneVideo(torch.nn.Module):
    """Apply a step for single videos to all videos of a sample at once, concatenated in time; boxes are unchanged."""

    def __init__(self, step: v2.Transform) -> None:
        super().__init__()
        self.step = step

    def forward(self, *sample: Any) -> Any:
        leaves, structure = tree_flatten(sample if len(sample) > 1 else sample[0])
        if isinstance(self.step, v2.RandAugment) and any(isinstance(leaf, tv_tensors.BoundingBoxes) for leaf in leaves):
            raise UserError("randaugment is not supported with boxes: set augment.randaugment to 0")
        places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, tv_tensors.Video)]
        if not places:
            return tree_unflatten(leaves, structure)
        whole = self.step(tv_tensors.Video(torch.cat([leaves[place] for place in places])))
        parts = whole.split([len(leaves[place]) for place in places])
        for place, part in zip(places, parts, strict=True):
            leaves[place] = tv_tensors.Video(part)
        return tree_unflatten(leaves, structure)


def mix(rgb: Tensor, target: Tensor, num_classes: int, augment: Augment) -> tuple[Tensor, Tensor]:
    """Mix each clip of a batch with the previous one by mixup or CutMix, one draw per batch.

    Args:
        rgb: (B, 3, T, H, W) uint8.
        target: (B,) int64 class indices, or (B, K) float.
        num_classes: K.
        augment: Options; without ``mixup`` and ``cutmix`` the inputs are returned unchanged.

    Returns:
        The mixed clips, uint8, and their targets, (B, K) float.

    Raises:
        UserError: The target is not a tensor of classes (detection).
    """
    kinds = [name for name in ("mixup", "cutmix") if getattr(augment, name)]
    if not kinds:
        return rgb, target
    if not isinstance(target, Tensor):
        raise UserError("mixup and cutmix are not supported for detection: set both to 0")
    target = (torch.nn.functional.one_hot(target, num_classes) if target.ndim == 1 else target).float()
    if kinds[int(torch.randint(len(kinds), ()))] == "cutmix":
        rgb, target = v2.CutMix(alpha=augment.cutmix)(tv_tensors.Video(rgb), target)
        return rgb.as_subclass(Tensor), target
    # v2.MixUp would need three float copies of the batch, twelve times its size, in every worker.
    share = torch.distributions.Beta(augment.mixup, augment.mixup).sample()
    mixed = torch.empty_like(rgb)
    for row, clip in enumerate(rgb):
        mixed[row] = torch.lerp(rgb[row - 1].float(), clip.float(), share).round_()
    return mixed, torch.lerp(target.roll(1, 0), target, share)
