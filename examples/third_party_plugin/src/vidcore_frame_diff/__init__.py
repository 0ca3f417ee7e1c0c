"""Small network on frame differences."""

from itertools import pairwise
from typing import Any

from torch import nn

from vidcore import Batch, ClipSpec, Output, Task, UserError, VideoModule

PLUGIN_API = 1
"""Version of the vidcore plugin API that this plugin is written for."""


class FrameDiff(VideoModule):
    """Three convolutions on the differences between consecutive frames, stacked as the channels of one image.

    Args:
        task: Classes to predict.
        width: Channels after the first convolution, doubled by each further one. Default: 16.
        **kwargs: Passed to `vidcore.VideoModule`.

    Raises:
        UserError: The clip has a single frame, so there is no difference.
    """

    def __init__(self, task: Task, width: int = 16, **kwargs: Any) -> None:
        super().__init__(task, ClipSpec(frames=8, stride=4, size=64, mean=(0.45,) * 3, std=(0.25,) * 3), **kwargs)
        if self.clip_spec.num_frames < 2:
            raise UserError("frame_diff needs at least two frames: set --model.clip.frames to 2 or more")
        channels = (self.clip_spec.num_frames - 1, width, 2 * width, 4 * width)
        self.blocks = nn.Sequential(*(block(*pair) for pair in pairwise(channels)))
        self.classifier = nn.Linear(4 * width, self.task.num_classes)

    def forward(self, batch: Batch) -> Output:
        """Compute logits (B, K) of clips."""
        grey = batch["inputs"]["rgb"].mean(1)  # (B, T, H, W), float, normalised
        changes = grey[:, 1:] - grey[:, :-1]  # (B, T - 1, H, W)
        return Output(logits=self.classifier(self.blocks(changes).mean((2, 3))))


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Return a convolution with stride 2, batch normalisation and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
