"""The random transforms of contrastive learning: two looks at one video that share what it shows, and little else."""

from __future__ import annotations

from torchvision.transforms import v2

from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.video.transforms import Augment


def contrastive_transforms(spec: ClipSpec, augment: Augment) -> tuple[v2.Compose, v2.Compose]:
    """What happens to the first and to the second clip of a pair (CVRL, Qian et al. 2021; its published code).

    Each is cropped at random and resized to ``spec.size``, mirrored, its colours jittered, made grey and blurred, all
    with one draw for all frames. The first is always blurred; the second seldom, but may be solarised.

    Args:
        spec: Gives the crop's size.
        augment: Gives ``scale``, ``ratio`` and ``hflip``; CVRL has (0.3, 1), (0.5, 2) and 0.5.

    Returns:
        Two picklable transforms of ``tv_tensors.Video`` (T, 3, H, W) uint8; draws come from torch's global generator.

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
                # Not v2.RandomGrayscale, which leaves videos as they are.
                v2.RandomApply([v2.ColorJitter(saturation=(0, 0))], p=0.2),
                v2.RandomApply([blur], p=blurred),
                v2.RandomSolarize(threshold=128, p=solarised),
            ]
        )

    return transform(blurred=1.0, solarised=0.0), transform(blurred=0.1, solarised=0.2)
