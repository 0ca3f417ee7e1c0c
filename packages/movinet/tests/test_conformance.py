"""Conformance tests of MoViNet."""

from __future__ import annotations

from typing import ClassVar

from vidcore.testing import ModelConformance, tiny_batch


class TestMoViNet(ModelConformance):
    name = "movinet"
    batch = tiny_batch(rows=2, frames=4, size=32, classes=3)
    macs = 8_069_664


class TestMoViNetStream(ModelConformance):
    name = "movinet"
    options: ClassVar = {"stream": True}
    batch = tiny_batch(rows=2, frames=4, size=32, classes=3)
    macs = 11_111_456


class TestMoViNetEnsemble(ModelConformance):
    name = "movinet_ensemble"
    batch = tiny_batch(rows=2, frames=4, size=32, classes=3)
    macs = 9_398_816
