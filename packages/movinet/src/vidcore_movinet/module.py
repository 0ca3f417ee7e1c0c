"""MoViNet as a plugin of vidcore."""

from __future__ import annotations

from typing import Any

from vidcore.batch import Batch, Output
from vidcore.clip import ClipSpec
from vidcore.module import VideoModule
from vidcore.task import Task
from vidcore_movinet.network import MoViNet
from vidcore_movinet.variants import find_variant


class MoViNetModule(VideoModule):
    """MoViNet for whole clips, trained from scratch or from ``weights``.

    Args:
        task: What is predicted.
        variant: ``a0`` to ``a5``, or ``t0``.
        dropout: Probability before the classifier; by default the variant's own.
        stochastic_depth: Probability with which training leaves out the last layer; falls linearly to the first.
        bn_momentum: Weight of the newest batch in the running statistics of batch normalisation. The official 0.01
            suits hundreds of thousands of steps; trainings of a few hundred need about 0.1.
        **kwargs: See :class:`vidcore.VideoModule`.
    """

    reference_task = Task.numbered(600)

    def __init__(
        self,
        task: Task,
        variant: str = "a0",
        dropout: float | None = None,
        stochastic_depth: float = 0.2,
        bn_momentum: float = 0.01,
        **kwargs: Any,
    ) -> None:
        self.variant = find_variant(variant)
        # Frames are taken at a rate in Hz, as the paper gives it, so that videos of any rate are seen alike.
        spec = ClipSpec(
            frames=self.variant.frames,
            fps=self.variant.fps,
            size=self.variant.size,
            short_side=self.variant.short_side,
        )
        super().__init__(task, spec, **kwargs)
        self.net = MoViNet(variant, self.task.num_classes, dropout, stochastic_depth, bn_momentum)

    def forward(self, batch: Batch) -> Output:
        """Logits of whole clips."""
        return Output(logits=self.net(batch["inputs"]["rgb"]))

    def published(self) -> dict[str, float]:
        """The released network's figures on Kinetics-600."""
        figures = {"parameters": self.variant.params, "gmacs": self.variant.gflops, "top1": self.variant.top1}
        return {name: value for name, value in figures.items() if value is not None}
