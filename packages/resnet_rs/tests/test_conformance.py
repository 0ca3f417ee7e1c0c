"""Conformance tests of 3D ResNet-RS."""

from __future__ import annotations

from vidcore.testing import ModelConformance, tiny_batch


class TestResNetRS(ModelConformance):
    name = "resnet_rs"
    batch = tiny_batch(rows=2, frames=4, size=64, classes=3)
    macs = 913_676_288
