"""Conformance tests that every vidcore model must pass, inherited."""

from vidcore.testing import ModelConformance, tiny_batch


class TestFrameDiff(ModelConformance):
    name = "frame_diff"
    batch = tiny_batch(rows=2, frames=4, size=32, classes=3)
    # For one clip: three differences as channels, convolutions to 16², 8² and 4² pixels, then the classifier.
    macs = 9 * 3 * 16 * 16**2 + 9 * 16 * 32 * 8**2 + 9 * 32 * 64 * 4**2 + 64 * 3
