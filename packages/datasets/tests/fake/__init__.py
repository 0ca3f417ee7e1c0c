"""Tiny fakes of published data sets in their owners' layout: a few classes, a few clips of eight frames.

``FAKES`` has one for each, by the name that ``--data`` takes; whoever adds a data set adds a maker here, and
``test_fakes.py`` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake import diving48, hmdb51, kinetics, mini_sports1m, moments, ucf101


@dataclass(frozen=True)
class Fake:
    """How to make one, and run it.

    Args:
        make: Fills a folder that is not there yet.
        sizes: Samples by split.
        options: Of the data set, besides ``root``.
        model: A small model that fits the task.
    """

    make: Callable[[Path], None]
    sizes: dict[str, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str = "small_models.MeanColour"


FAKES = {
    "diving48": Fake(diving48.make, {"train": 8, "val": 4, "test": 4}),
    "hmdb51": Fake(hmdb51.make, {"train": 8, "val": 4, "test": 4}, {"fold": 2}),
    "kinetics400": Fake(kinetics.make, {"train": 8, "val": 4, "test": 4}),
    "kinetics600": Fake(kinetics.make_flat, {"train": 8, "val": 4, "test": 4}),
    "kinetics700": Fake(kinetics.make, {"train": 8, "val": 4, "test": 4}, {"year": 2019}),
    "kinetics_sounds": Fake(kinetics.make, {"train": 4, "val": 2, "test": 2}),
    "mini_kinetics": Fake(kinetics.make, {"train": 4, "val": 2, "test": 2}),
    "mini_sports1m": Fake(mini_sports1m.make, {"train": 8, "val": 4, "test": 4}),
    "moments": Fake(moments.make, {"train": 8, "val": 4, "test": 4}),
    "ucf101": Fake(ucf101.make, {"train": 8, "val": 4, "test": 4}, {"fold": 3}),
}
