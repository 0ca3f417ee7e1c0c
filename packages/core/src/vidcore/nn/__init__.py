"""Building blocks shared by several methods; pure torch."""

from vidcore.nn.blocks import Activation, ConvNorm, SqueezeExcite
from vidcore.nn.checkpointing import checkpointed
from vidcore.nn.clip import check_clip
from vidcore.nn.init import draw_weights, set_bn_momentum, variance_scaling_
from vidcore.nn.same import Kernel, SameConv3d, SameMaxPool3d, same_padding

__all__ = [
    "Activation",
    "ConvNorm",
    "Kernel",
    "SameConv3d",
    "SameMaxPool3d",
    "SqueezeExcite",
    "check_clip",
    "checkpointed",
    "draw_weights",
    "same_padding",
    "set_bn_momentum",
    "variance_scaling_",
]
