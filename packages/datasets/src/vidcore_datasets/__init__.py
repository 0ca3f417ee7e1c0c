"""Data sets for vidcore, one file each: annotations to samples."""

from __future__ import annotations

import importlib
from typing import Any

PLUGIN_API = 1

# By name, so that drawing a clip does not import Lightning.
_PUBLIC = {
    "Annotations": "annotations",
    "Csv": "csv",
    "DigitClip": "render_digits",
    "DigitOptions": "render_digits",
    "Folder": "folder",
    "MovingDigits": "moving_digits",
    "Prepared": "prepared",
    "Unlabelled": "unlabelled",
    "draw_clip": "render_digits",
    "make_moving_digits": "make_digits",
    "read_csv": "csv",
    "read_folder": "folder",
    "read_moving_digits": "moving_digits",
    "read_prepared": "prepared",
    "read_unlabelled": "unlabelled",
}

__all__ = ["PLUGIN_API", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"vidcore_datasets.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
