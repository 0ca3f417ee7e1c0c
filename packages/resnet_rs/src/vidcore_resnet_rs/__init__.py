"""3D ResNet-RS (Du et al., 2021, arXiv:2109.01696) and its contrastive pre-training, CVRL (Qian et al., CVPR 2021)."""

from vidcore_resnet_rs.contrastive import ContrastiveModule
from vidcore_resnet_rs.module import ResNetRSModule
from vidcore_resnet_rs.network import ResNetRS3D
from vidcore_resnet_rs.variants import BLOCKS, LADDER, ResNetRSConfig, Step, scaled
from vidcore_resnet_rs.weights import load_tensorflow_variables

PLUGIN_API = 1

__all__ = [
    "BLOCKS",
    "LADDER",
    "PLUGIN_API",
    "ContrastiveModule",
    "ResNetRS3D",
    "ResNetRSConfig",
    "ResNetRSModule",
    "Step",
    "load_tensorflow_variables",
    "scaled",
]
