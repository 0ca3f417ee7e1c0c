"""Conformance tests: the author of a model subclasses ``ModelConformance``. Requires pytest."""

from vidcore.testing.answers import AnswerTests
from vidcore.testing.batches import tiny_batch
from vidcore.testing.checkpoints import CheckpointTests
from vidcore.testing.cost import CostTests
from vidcore.testing.streams import StreamTests
from vidcore.testing.training import TrainingTests

__all__ = ["ModelConformance", "tiny_batch"]


class ModelConformance(AnswerTests, TrainingTests, CheckpointTests, CostTests, StreamTests):
    """Tests that every vidcore model must pass. Name the subclass ``Test…``, so that pytest collects it.

    Example:
        >>> class TestMeanFrame(ModelConformance):
        ...     name = "meanframe"
        ...     batch = tiny_batch(rows=2, frames=8, size=32, classes=3)
        ...     macs = 123_456

    Attributes:
        name: Name of the model's entry point, or its class.
        batch: Batch of at least two rows with targets and normalised frames. The targets define the task.
        macs: MACs of one row of ``batch``; the mean if rows differ.
        options: Arguments of the model besides the task. Frames and size are set to those of ``batch`` unless ``clip``
            is given.

    A test of a feature that the model lacks is skipped with the reason. If the method's design makes a test impossible,
    override it and state why: ``def test_…(self): pytest.skip("…")``.
    """
