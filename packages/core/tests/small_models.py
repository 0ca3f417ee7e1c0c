"""One small model for each thing the contracts must carry."""

from __future__ import annotations

import torch
from torch import nn

from vidcore import ClipSpec, Optim, Output, Stage, VideoModule


class MeanColour(VideoModule):
    """A linear classifier of the mean colour of each frame: single_label or multi_label."""

    def __init__(self, task, **kwargs):
        super().__init__(task, ClipSpec(frames=2, size=16), **kwargs)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, self.task.num_classes))

    def forward(self, batch):
        return Output(logits=self.net(batch["inputs"]["rgb"].mean((2, 3, 4))))


class LookOrListen(VideoModule):
    """Two modalities; sound is used only where there is some, and usage says so."""

    def __init__(self, task, **kwargs):
        super().__init__(
            task, ClipSpec(segments=2, frames=1, size=16, modalities=("rgb", "audio"), audio_seconds=0.25), **kwargs
        )
        self.see = nn.Linear(3, self.task.num_classes)
        self.hear = nn.Linear(1, self.task.num_classes)

    def components(self):
        return {"see": (self.see, (torch.zeros(1, 3),)), "hear": (self.hear, (torch.zeros(1, 1),))}

    def forward(self, batch):
        logits = self.see(batch["inputs"]["rgb"].mean((2, 3, 4)))
        present = batch.get("present", {}).get("audio", torch.ones(len(logits), dtype=torch.bool))
        loud = batch["inputs"]["audio"][present].abs().mean((1, 2))[:, None]
        logits = logits.index_add(0, present.nonzero()[:, 0], self.hear(loud))
        usage = {"see": torch.ones(len(logits)), "hear": present.float()}
        return Output(logits=logits, usage=usage)


class LookWhereBright(VideoModule):
    """Runs its classifier only on segments whose mean is positive, and reports which."""

    def __init__(self, task, **kwargs):
        super().__init__(task, ClipSpec(segments=4, frames=1, size=16), **kwargs)
        self.see = nn.Linear(3, self.task.num_classes)

    def components(self):
        return {"see": (self.see, (torch.zeros(1, 3),))}

    def forward(self, batch):
        colours = batch["inputs"]["rgb"].mean((3, 4)).transpose(1, 2)  # (B, S, 3)
        bright = colours.mean(2) > 0
        logits = colours.new_zeros(*bright.shape, self.task.num_classes)
        logits = logits.index_put((bright,), self.see(colours[bright]))
        return Output(logits=logits.mean(1), decisions={"see": bright})


class Everything(VideoModule):
    """All modalities there are, the mean of each."""

    def __init__(self, task, form="log_mel", **kwargs):
        spec = ClipSpec(
            segments=2,
            frames=2,
            size=32,
            stack=2,
            modalities=("rgb", "rgbdiff", "flow", "audio"),
            audio_rate=8000,
            audio_seconds=0.4,
            audio_form=form,
        )
        super().__init__(task, spec, **kwargs)
        self.net = nn.Linear(3 + 6 + 4 + 2, self.task.num_classes)

    def forward(self, batch):
        inputs = batch["inputs"]
        assert all(value.dtype == torch.float32 for value in inputs.values())
        parts = [inputs[name].mean((2, 3, 4)) for name in ("rgb", "rgbdiff", "flow")]
        return Output(logits=self.net(torch.cat([*parts, inputs["audio"].mean((2, 3))], 1)))


class BrightestSpot(VideoModule):
    """A detector: one box in each frame around the brightest pixel, moved and sized by learned numbers."""

    def __init__(self, task, **kwargs):
        super().__init__(task, ClipSpec(frames=2, size=32), **kwargs)
        self.shape = nn.Parameter(torch.tensor([0.0, 0.0, 4.0, 4.0]))

    def components(self):
        return {}

    def forward(self, batch):
        rgb = batch["inputs"]["rgb"]
        batch_size, _, frames, _, width = rgb.shape
        spot = rgb.mean(1).flatten(2).argmax(-1)
        centre = torch.stack([spot % width, spot // width], -1).float()
        x, y = (centre + self.shape[:2]).unbind(-1)
        w, h = self.shape[2:]
        boxes = torch.stack([x - w, y - h, x + w, y + h], -1)
        detections = [
            {
                "boxes": boxes[row].detach(),
                "scores": torch.ones(frames),
                "labels": torch.zeros(frames, dtype=torch.long),
                "frames": torch.arange(frames),
            }
            for row in range(batch_size)
        ]
        losses = {}
        if self.training:
            errors = [
                (boxes[row][target["frames"]] - target["boxes"]).abs().mean()
                for row, target in enumerate(batch["target"])
                if len(target["boxes"])
            ]
            losses["box"] = torch.stack(errors).mean() if errors else 0 * self.shape.sum()
        return Output(detections=detections, losses=losses)


class TwoStages(MeanColour):
    """First the classifier on a frozen backbone, then all of it at a lower rate."""

    def stages(self):
        return (
            Stage("classifier", 2, Optim("sgd", lr=0.1, schedule="constant", warmup=0.0), trains=("net.3.*",)),
            Stage("everything", 2, Optim("adamw", lr=0.01, schedule="constant", warmup=0.0)),
        )


class ColourSoFar(VideoModule):
    """What streams: a linear classifier of the mean colour of all frames so far and of the one before the last."""

    def __init__(self, task, **kwargs):
        super().__init__(task, ClipSpec(frames=4, size=16), **kwargs)
        self.net = nn.Linear(6, self.task.num_classes)

    def forward(self, batch):
        rgb = batch["inputs"]["rgb"]
        return self.step(rgb, self.init_state(len(rgb), (rgb.shape[3], rgb.shape[4])))[0]

    def components(self):
        return {"net": (self.net, (torch.zeros(1, 6),))}

    def init_state(self, batch_size, size):
        shapes = {"mean": (3,), "seen": (1,), "ago1": (3,), "ago2": (3,)}
        return {name: torch.zeros(batch_size, *shape) for name, shape in shapes.items()}

    def step(self, frames, state):
        for frame in frames.mean((3, 4)).unbind(2):
            seen = state["seen"] + 1
            mean = state["mean"] + (frame - state["mean"]) / seen
            state = {"mean": mean, "seen": seen, "ago1": frame, "ago2": state["ago1"]}
        logits = self.net(torch.cat([state["mean"], state["ago2"]], 1))
        return Output(logits=logits, usage={"net": torch.ones(len(logits))}), state
