"""The conformance suite: a model's author derives one test class from :class:`ModelConformance`. Needs pytest."""

from vidcore.testing.answers import AnswerTests
from vidcore.testing.batches import tiny_batch
from vidcore.testing.checkpoints import CheckpointTests
from vidcore.testing.cost import CostTests
from vidcore.testing.streams import StreamTests
from vidcore.testing.training import TrainingTests

__all__ = ["ModelConformance", "tiny_batch"]


class ModelConformance(AnswerTests, TrainingTests, CheckpointTests, CostTests, StreamTests):
    """What every model of vidcore must fulfil. A subclass whose name begins with ``Test`` is what pytest runs.

    Example:
        >>> class TestMeanFrame(ModelConformance):
        ...     name = "meanframe"
        ...     batch = tiny_batch(rows=2, frames=8, size=32, classes=3)
        ...     macs = 123_456

    Attributes:
        name: The name under which the model is installed, or its class.
        batch: At least two rows with targets, frames normalised. The task is that of the targets.
        macs: Multiply-accumulates of one row of ``batch``; their mean where rows use different amounts.
        options: Arguments of the model beside the task. Frames and size come from ``batch`` unless ``clip`` is here.

    A test of something that the model does not do is skipped with the reason. Where a test cannot hold by the method's
    own design, override it and say why: ``def test_…(self): pytest.skip("…")``.
    """
