"""Random transforms of contrastive learning: two augmented views of the same video."""

from __future__ import annotations

from torchvision.transforms import v2

from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.video.transforms import Augment


def contrastive_transforms(spec: ClipSpec, augment: Augment) -> tuple[v2.Compose, v2.Compose]:
    """Build the transforms of the first and second clip of a pair (CVRL, Qian et al. 2021; its published code).

    Each clip is randomly cropped and resized to ``spec.size``, flipped, colour-jittered, converted to grey and blurred,
    with the same parameters for all frames. The first is always blurred; the second rarely, but may be solarised.

    Args:
        spec: Clip spec; defines the crop size.
        augment: Defines ``scale``, ``ratio`` and ``hflip``; CVRL uses (0.3, 1), (0.5, 2) and 0.5.

    Returns:
        Two picklable transforms of ``tv_tensors.Video`` (T, 3, H, W) uint8; they draw from torch's global generator.

    Raises:
        UserError: Another augmentation is set.
    """
    others = [name for name in ("randaugment", "mixup", "cutmix", "erasing") if getattr(augment, name)]
    if others:
        raise UserError(f"pairs of clips have augmentations of their own: set augment {', '.join(others)} to 0")
    blur = v2.GaussianBlur(max(3, 2 * (spec.size // 20) + 1), sigma=(0.1, 2.0))  # the odd number nearest to size / 10

    def transform(blurred: float, solarised: float) -> v2.Compose:
        return v2.Compose(
            [
                v2.RandomResizedCrop(spec.size, scale=augment.scale, ratio=augment.ratio, antialias=True),
                v2.RandomHorizontalFlip(augment.hflip),
                v2.RandomApply([v2.ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)], p=0.8),
                # v2.RandomGrayscale does not support videos.
                v2.RandomApply([v2.ColorJitter(saturation=(0, 0))], p=0.2),
                v2.RandomApply([blur], p=blurred),
                v2.RandomSolarize(threshold=128, p=solarised),
            ]
        )

    return transform(blurred=1.0, solarised=0.0), transform(blurred=0.1, solarised=0.2)
