"""Tiny fakes of published data sets in their official layout: a few classes, a few clips of eight frames.

``FAKES`` holds one per ``--data`` name; add an entry for each new data set, and ``test_fakes.py`` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake import (
    activitynet,
    charades,
    coco_vid,
    diving48,
    fcvid,
    hmdb51,
    imagenet_vid,
    jester,
    kinetics,
    mini_sports1m,
    moments,
    moments_multi,
    ssv1,
    ssv2,
    ucf101,
)


@dataclass(frozen=True)
class Fake:
    """A fake data set and the options to run it.

    Args:
        make: Fills a folder that does not exist yet.
        sizes: Number of samples by split.
        options: Options of the data set besides ``root``.
        model: Small model for the task.
    """

    make: Callable[[Path], None]
    sizes: dict[str, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str = "small_models.MeanColour"


FAKES = {
    "activitynet": Fake(activitynet.make, {"train": 2, "val": 2, "test": 2}),
    "charades": Fake(charades.make, {"train": 2, "val": 2, "test": 2}),
    "coco_vid": Fake(coco_vid.make, {"train": 2, "val": 2, "test": 2}, model="small_models.BrightestSpot"),
    "diving48": Fake(diving48.make, {"train": 8, "val": 4, "test": 4}),
    "fcvid": Fake(fcvid.make, {"train": 2, "val": 2, "test": 2}),
    "hmdb51": Fake(hmdb51.make, {"train": 8, "val": 4, "test": 4}, {"fold": 2}),
    "imagenet_vid": Fake(imagenet_vid.make, {"train": 7, "val": 2, "test": 2}, model="small_models.BrightestSpot"),
    "jester": Fake(jester.make, {"train": 3, "val": 2, "test": 2}),
    "kinetics400": Fake(kinetics.make, {"train": 8, "val": 4, "test": 4}),
    "kinetics600": Fake(kinetics.make_flat, {"train": 8, "val": 4, "test": 4}),
    "kinetics700": Fake(kinetics.make, {"train": 8, "val": 4, "test": 4}, {"year": 2019}),
    "kinetics_sounds": Fake(kinetics.make, {"train": 4, "val": 2, "test": 2}),
    "mini_kinetics": Fake(kinetics.make, {"train": 4, "val": 2, "test": 2}),
    "mini_sports1m": Fake(mini_sports1m.make, {"train": 8, "val": 4, "test": 4}),
    "moments": Fake(moments.make, {"train": 8, "val": 4, "test": 4}),
    "moments_multi": Fake(moments_multi.make, {"train": 3, "val": 2, "test": 2}),
    "ssv1": Fake(ssv1.make, {"train": 4, "val": 2, "test": 2}),
    "ssv2": Fake(ssv2.make, {"train": 3, "val": 2, "test": 1}, {"official_test": True}),
    "ucf101": Fake(ucf101.make, {"train": 8, "val": 4, "test": 4}, {"fold": 3}),
}
