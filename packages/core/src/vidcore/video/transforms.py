"""Cropping, resizing and augmenting clips: one draw for all frames and all inputs of a sample.

A transform takes any nesting of dicts, lists and tuples, as torchvision's own do, and returns the same. In it,
``tv_tensors.Video`` (T, C, H, W) uint8, :class:`Flow` and ``tv_tensors.BoundingBoxes`` are transformed; all else passes
through, sound among it. Flow may be of another size than the frames: it is cropped where they are. Boxes are clipped to
the crop, and one outside it ends up without area. Draws come from torch's global generator, which a data loader seeds
in each worker.

Decoders give frames with the channels last in memory, and nothing here changes that: uint8 resizing is then about twice
as fast as from separate channel planes.
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
    """Fields of optical flow (T, 2, H, W) uint8, x and y, see :func:`vidcore.video.flow.quantised`.

    A mirror image negates x. Scaling leaves the values as they are, as TSN does: they stay pixels of the source.
    """


@v2.functional.register_kernel(F.horizontal_flip, Flow)
def _mirrored_flow(flow: Tensor) -> Tensor:
    mirrored = flow.as_subclass(Tensor).flip(-1)
    mirrored[..., 0, :, :] = 255 - mirrored[..., 0, :, :]
    return mirrored.as_subclass(Flow)


@dataclass(frozen=True)
class Augment:
    """What training does to a sample.

    Args:
        scale: Area of the random crop, as least and greatest share of the frame's.
        ratio: Width over height of the random crop, least and greatest.
        hflip: Probability of a mirror image; 0 where left and right tell classes apart. Nothing else mirrors.
        autoaugment: Whether AutoAugment's policy for ImageNet is applied (Cubuk et al. 2019).
        randaugment: Magnitude 1 to 30 of two RandAugment operations (Cubuk et al. 2020); 0 for none.
        mixup: Alpha of mixup's Beta distribution (Zhang et al. 2018); 0 for none.
        cutmix: Alpha of CutMix's (Yun et al. 2019); 0 for none. With both, each batch gets one, drawn evenly.
        erasing: Probability that a random rectangle turns black in all frames (Zhong et al. 2020).

    Raises:
        OptionError: A value outside its range.
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
    """A random crop resized to ``spec.size``, a mirror image at random, then AutoAugment, RandAugment and erasing.

    Args:
        spec: Gives the crop's size, and the inputs.
        augment: What to do; mixup and CutMix are left to :func:`mix`, which sees the batch.

    Returns:
        A picklable transform, see the module's text.

    Raises:
        UserError: An augmentation that one of the inputs cannot take; from the transform, if RandAugment meets boxes.
    """
    others = ", ".join(name for name in spec.modalities if name != "rgb")
    if others and (augment.mixup or augment.cutmix):
        raise UserError(f"augment mixup and cutmix mix rgb alone, and this model also takes {others}: set both to 0")
    if "flow" in spec.modalities and (augment.autoaugment or augment.randaugment or augment.erasing):
        # Shearing and rotating would have to change the vectors, too, and a black rectangle is a fast motion.
        raise UserError("flow can only be cropped and mirrored: set augment autoaugment, randaugment and erasing to 0")
    # Cropping comes first: whatever follows then costs a fraction of the frame.
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
    """Resizes the short side to ``spec.resize`` and cuts a square of ``spec.size`` out of the middle.

    Args:
        spec: Gives both sizes.
        crops: 1, or 3 squares along the longer side: at its beginning, middle and end.
        crop: Which of the three.

    Returns:
        A picklable transform, see the module's text.

    Raises:
        ValueError: Another number of crops, or a crop that is not among them.
    """
    if crops not in (1, 3) or not 0 <= crop < crops:
        raise ValueError(f"crop {crop} of {crops}: there can be 1 crop or 3, counted from 0")
    return v2.Compose([v2.Resize(spec.resize, antialias=True), _SquareCrop(spec.size, crop / 2 if crops == 3 else 0.5)])


class _RandomResizedCrop(v2.RandomResizedCrop):
    """Draws for the first input; one of another size is cropped at the same place, to within a pixel."""

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
    """Cuts a square at ``place`` in [0, 1] of the way along the longer side, in the middle of the other."""

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
    """Applies to all videos of a sample, end to end, a step that makes sense for one only, and leaves boxes alone."""

    def __init__(self, step: v2.Transform) -> None:
        super().__init__()
        self.step = step

    def forward(self, *sample: Any) -> Any:
        leaves, structure = tree_flatten(sample if len(sample) > 1 else sample[0])
        if isinstance(self.step, v2.RandAugment) and any(isinstance(leaf, tv_tensors.BoundingBoxes) for leaf in leaves):
            raise UserError("augment randaugment moves the picture but cannot move its boxes: set it to 0")
        places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, tv_tensors.Video)]
        if not places:
            return tree_unflatten(leaves, structure)
        whole = self.step(tv_tensors.Video(torch.cat([leaves[place] for place in places])))
        parts = whole.split([len(leaves[place]) for place in places])
        for place, part in zip(places, parts, strict=True):
            leaves[place] = tv_tensors.Video(part)
        return tree_unflatten(leaves, structure)


def mix(rgb: Tensor, target: Tensor, num_classes: int, augment: Augment) -> tuple[Tensor, Tensor]:
    """Mixes each clip of a batch with the one before it by mixup or CutMix, one draw a batch.

    Args:
        rgb: (B, 3, T, H, W) uint8.
        target: (B,) int64 classes, or (B, K) float.
        num_classes: K.
        augment: Says which; without ``mixup`` and ``cutmix`` both come back as they are.

    Returns:
        The mixed clips, uint8, and their targets, (B, K) float.

    Raises:
        UserError: The target is not a tensor of classes (detection).
    """
    kinds = [name for name in ("mixup", "cutmix") if getattr(augment, name)]
    if not kinds:
        return rgb, target
    if not isinstance(target, Tensor):
        raise UserError("augment mixup and cutmix cannot mix boxes: set both to 0 for detection")
    target = (torch.nn.functional.one_hot(target, num_classes) if target.ndim == 1 else target).float()
    if kinds[int(torch.randint(len(kinds), ()))] == "cutmix":
        rgb, target = v2.CutMix(alpha=augment.cutmix)(tv_tensors.Video(rgb), target)
        return rgb.as_subclass(Tensor), target
    # Not v2.MixUp: it would hold three copies of the batch in float, twelve times its size, in every worker.
    share = torch.distributions.Beta(augment.mixup, augment.mixup).sample()
    mixed = torch.empty_like(rgb)
    for row, clip in enumerate(rgb):
        mixed[row] = torch.lerp(rgb[row - 1].float(), clip.float(), share).round_()
    return mixed, torch.lerp(target.roll(1, 0), target, share)
