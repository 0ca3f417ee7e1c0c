"""AdaFocus passes what every model must fulfil."""

from __future__ import annotations

from typing import Any, ClassVar

from vidcore.testing import ModelConformance, tiny_batch

SMALL: dict[str, Any] = {
    "clip": {"segments": 4, "size": 64},
    "glance": "mobilenet_v2",
    "focus": "mobilenet_v2",
    "policy_width": 16,
    "head_width": 32,
    "optim": {"name": "sgd", "lr": 0.002, "warmup": 0.0},
}


class TestV2(ModelConformance):
    name = "adafocus"
    options: ClassVar = SMALL
    batch = tiny_batch(rows=2, frames=4, size=64, classes=3)
    macs = 123_904_000


class TestV2Shifted(ModelConformance):
    name = "adafocus"
    options: ClassVar = {**SMALL, "variant": "v2_tsm"}
    batch = tiny_batch(rows=2, frames=4, size=64, classes=3)
    macs = 98_789_008


class TestV1(ModelConformance):
    name = "adafocus"
    options: ClassVar = {**SMALL, "variant": "v1"}
    batch = tiny_batch(rows=2, frames=4, size=64, classes=3)
    macs = 123_911_104


class TestV1Shifted(ModelConformance):
    name = "adafocus"
    options: ClassVar = {**SMALL, "variant": "v1_tsm"}
    batch = tiny_batch(rows=2, frames=4, size=64, classes=3)
    macs = 98_790_432
