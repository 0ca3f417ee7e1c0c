"""AdaFocus (Wang et al., ICCV 2021, arXiv:2105.03245) and AdaFocus V2 (CVPR 2022, arXiv:2112.14238)."""

from vidcore_adafocus.module import AdaFocusModule, Rates, Stages
from vidcore_adafocus.network import AdaFocusNet
from vidcore_adafocus.reinforce import Reinforce
from vidcore_adafocus.variants import VARIANTS, AdaFocusConfig, Variant

PLUGIN_API = 1

__all__ = [
    "PLUGIN_API",
    "VARIANTS",
    "AdaFocusConfig",
    "AdaFocusModule",
    "AdaFocusNet",
    "Rates",
    "Reinforce",
    "Stages",
    "Variant",
]
