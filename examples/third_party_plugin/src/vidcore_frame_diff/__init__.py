"""A small network on the differences between frames."""

from itertools import pairwise
from typing import Any

from torch import nn

from vidcore import Batch, ClipSpec, Output, Task, UserError, VideoModule

PLUGIN_API = 1
"""The version of vidcore's contracts that this plugin was written for."""


class FrameDiff(VideoModule):
    """What changes from each frame to the next is one picture of many channels; three convolutions look at it.

    Args:
        task: What is predicted.
        width: Channels after the first convolution; each further one doubles them.
        **kwargs: See `vidcore.VideoModule`.

    Raises:
        UserError: Clips of a single frame, in which nothing changes.
    """

    def __init__(self, task: Task, width: int = 16, **kwargs: Any) -> None:
        super().__init__(task, ClipSpec(frames=8, stride=4, size=64, mean=(0.45,) * 3, std=(0.25,) * 3), **kwargs)
        if self.clip_spec.num_frames < 2:
            raise UserError("frame_diff compares frames: --model.clip.frames must be 2 or more")
        channels = (self.clip_spec.num_frames - 1, width, 2 * width, 4 * width)
        self.blocks = nn.Sequential(*(block(*pair) for pair in pairwise(channels)))
        self.classifier = nn.Linear(4 * width, self.task.num_classes)

    def forward(self, batch: Batch) -> Output:
        """Logits of whole clips."""
        grey = batch["inputs"]["rgb"].mean(1)  # (B, T, H, W), float, normalised
        changes = grey[:, 1:] - grey[:, :-1]  # (B, T - 1, H, W)
        return Output(logits=self.classifier(self.blocks(changes).mean((2, 3))))


def block(inputs: int, outputs: int) -> nn.Sequential:
    """A convolution that halves height and width."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
