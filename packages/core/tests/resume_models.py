"""A model that draws at random while it trains, in two stages, and can be killed in the middle of an epoch."""

from __future__ import annotations

import os
import signal

import torch
from colours import Colours
from torch import nn

from vidcore import ClipSpec, Optim, Output, Stage, VideoModule

AUGMENT = {"randaugment": 9, "erasing": 0.3, "mixup": 0.2}


class Clips(Colours):
    """Colours, read by a worker, with all that is random."""

    def __init__(self, root: str):
        super().__init__(root, num_workers=1, augment=AUGMENT)


class Fragile(VideoModule):
    def __init__(self, task, **kwargs):
        super().__init__(task, ClipSpec(frames=2, size=16), **kwargs)
        self.features = nn.Sequential(nn.Conv3d(3, 8, (1, 8, 8), stride=(1, 8, 8)), nn.BatchNorm3d(8), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, self.task.num_classes))

    def stages(self):
        return (
            Stage("head", 2, Optim("sgd", lr=0.1), trains=("head.*",)),
            Stage("all", 2, Optim("adamw", lr=0.01)),
        )

    def forward(self, batch):
        return Output(logits=self.head(self.features(batch["inputs"]["rgb"]).mean((2, 3, 4))))

    def training_step(self, batch, batch_idx):
        kill_at = os.environ.get("KILL_AT")
        if kill_at == f"{self.current_epoch}.{batch_idx}":
            os.kill(os.getpid(), signal.SIGKILL)
        noise = torch.randn(()) * 1e-3
        return super().training_step(batch, batch_idx) + noise * sum(p.sum() for p in self.head.parameters())
