"""MoViNet: mobile video networks (Kondratyuk et al., CVPR 2021, arXiv:2103.11511)."""

from vidcore_movinet.ensemble import MoViNetEnsemble
from vidcore_movinet.module import MoViNetModule
from vidcore_movinet.network import MoViNet
from vidcore_movinet.variants import VARIANTS, MoViNetConfig, Variant
from vidcore_movinet.weights import load_port_state_dict, load_tensorflow_variables

PLUGIN_API = 1

__all__ = [
    "PLUGIN_API",
    "VARIANTS",
    "MoViNet",
    "MoViNetConfig",
    "MoViNetEnsemble",
    "MoViNetModule",
    "Variant",
    "load_port_state_dict",
    "load_tensorflow_variables",
]
