"""Data sets for vidcore: one module per data set turns its annotations into samples."""

from __future__ import annotations

import importlib
from typing import Any

PLUGIN_API = 1

# Public name -> module. Lazy, so that importing DigitClip does not import Lightning.
_PUBLIC = {
    "ActivityNet": "activitynet",
    "Annotated": "annotated",
    "Annotations": "annotations",
    "Charades": "charades",
    "CocoVid": "coco_vid",
    "Csv": "csv",
    "DigitClip": "render_digits",
    "DigitOptions": "render_digits",
    "Diving48": "diving48",
    "FCVID": "fcvid",
    "Folder": "folder",
    "HMDB51": "hmdb51",
    "ImageNetVID": "imagenet_vid",
    "Jester": "jester",
    "Kinetics400": "kinetics",
    "Kinetics600": "kinetics",
    "Kinetics700": "kinetics",
    "KineticsSounds": "kinetics_sounds",
    "MOTION_GROUPS": "tracks",
    "MiniKinetics": "mini_kinetics",
    "MiniSports1M": "mini_sports1m",
    "Moments": "moments",
    "MomentsMulti": "moments_multi",
    "MovingDigits": "moving_digits",
    "Prepared": "prepared",
    "Published": "published",
    "PublishedData": "published",
    "SSv1": "ssv1",
    "SSv2": "ssv2",
    "UCF101": "ucf101",
    "Unlabelled": "unlabelled",
    "VideoList": "video_list",
    "draw_clip": "render_digits",
    "find_videos": "find_videos",
    "make_moving_digits": "make_digits",
    "motion_iou": "tracks",
    "read_activitynet": "activitynet",
    "read_charades": "charades",
    "read_coco_vid": "coco_vid",
    "read_csv": "csv",
    "read_diving48": "diving48",
    "read_fcvid": "fcvid",
    "read_folder": "folder",
    "read_hmdb51": "hmdb51",
    "read_imagenet_vid": "imagenet_vid",
    "read_jester": "jester",
    "read_kinetics": "kinetics",
    "read_kinetics_sounds": "kinetics_sounds",
    "read_mini_kinetics": "mini_kinetics",
    "read_mini_sports1m": "mini_sports1m",
    "read_moments": "moments",
    "read_moments_multi": "moments_multi",
    "read_moving_digits": "moving_digits",
    "read_prepared": "prepared",
    "read_ssv1": "ssv1",
    "read_ssv2": "ssv2",
    "read_ucf101": "ucf101",
    "read_unlabelled": "unlabelled",
    "read_video_list": "video_list",
}

__all__ = ["PLUGIN_API", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"vidcore_datasets.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
