"""Efficient video recognition: any model with any data, honest compute, the paper exactly."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

# Checkpoints and configs name classes in these two modules, and Lightning looks for them in sys.modules only.
from vidcore import data as data
from vidcore import models as models
from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.plugins import PLUGIN_API
from vidcore.task import Task

if TYPE_CHECKING:
    from vidcore.api import fit, load
    from vidcore.batch import Batch, Output
    from vidcore.datamodule import Sample, VideoDataModule
    from vidcore.module import VideoModule
    from vidcore.training.optim import Optim, Stage, Turn
    from vidcore.weights import Weights

__version__ = version("vidcore")

# These import torch, which `vid --help` must not.
_LAZY = {
    "Batch": "vidcore.batch",
    "Optim": "vidcore.training.optim",
    "Output": "vidcore.batch",
    "Sample": "vidcore.datamodule",
    "Stage": "vidcore.training.optim",
    "Turn": "vidcore.training.optim",
    "VideoDataModule": "vidcore.datamodule",
    "VideoModule": "vidcore.module",
    "Weights": "vidcore.weights",
    "fit": "vidcore.api",
    "load": "vidcore.api",
}

__all__ = [
    "PLUGIN_API",
    "Batch",
    "ClipSpec",
    "Optim",
    "Output",
    "Sample",
    "Stage",
    "Task",
    "Turn",
    "UserError",
    "VideoDataModule",
    "VideoModule",
    "Weights",
    "fit",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'vidcore' has no attribute {name!r}")
