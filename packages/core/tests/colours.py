"""A data set of tiny videos: the class is the colour, or the colours, or where a bright square is."""

from __future__ import annotations

from pathlib import Path

import torch

from vidcore import Sample, Task, VideoDataModule
from vidcore.video.encode import write_video

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
RATE = 16_000


def write(path: Path, colour, seed: int, frames: int = 6, audio: bool = False) -> Path:
    noise = torch.randint(0, 30, (frames, 3, 24, 32), generator=torch.Generator().manual_seed(seed))
    video = (torch.tensor(colour).reshape(1, 3, 1, 1) + noise).to(torch.uint8)
    sound = 0.5 * torch.sin(torch.arange(RATE * frames // 8) * 0.1) if audio else None
    write_video(path, video, fps=8, audio=sound, audio_rate=RATE)
    return path


class Colours(VideoDataModule):
    def __init__(
        self,
        root: str,
        kind: str = "single_label",
        per_class: int = 4,
        broken: int = 0,
        audio: bool = False,
        num_workers: int = 0,
        **kwargs,
    ):
        super().__init__(**{"num_workers": num_workers, "batch_size": 4, **kwargs})
        self.root, self.kind, self.per_class, self.broken, self.audio = Path(root), kind, per_class, broken, audio

    @property
    def task(self):
        return Task(self.kind, tuple(COLOURS))

    def prepare_data(self):
        self.root.mkdir(parents=True, exist_ok=True)
        for label, (name, colour) in enumerate(COLOURS.items()):
            for index in range(self.per_class):
                path = self.root / f"{name}_{index}.mp4"
                if not path.exists():
                    write(path, colour, 10 * label + index, audio=self.audio and index % 2 == 0)
        for index in range(self.broken):
            (self.root / f"broken_{index}.mp4").write_bytes(b"this is not a video")

    def samples(self, split):
        found = [
            Sample(str(self.root / f"{name}_{index}.mp4"), (label,) if self.kind == "multi_label" else label)
            for index in range(self.per_class)
            for label, name in enumerate(COLOURS)
        ]
        target = (0,) if self.kind == "multi_label" else 0
        return [*found, *(Sample(str(self.root / f"broken_{index}.mp4"), target) for index in range(self.broken))]


class BrightSquare(VideoDataModule):
    """Detection: a white square that moves over grey."""

    def __init__(self, root: str, **kwargs):
        super().__init__(**{"num_workers": 0, "batch_size": 4, **kwargs})
        self.root = Path(root)

    task = Task("detection", ("square",))

    @staticmethod
    def boxes(index):
        left = torch.arange(6) * 3 + index
        return torch.stack([left, torch.full((6,), 10), left + 8, torch.full((6,), 18)], -1).float()

    def prepare_data(self):
        self.root.mkdir(parents=True, exist_ok=True)
        for index in range(4):
            video = torch.full((6, 3, 32, 48), 60, dtype=torch.uint8)
            for frame, (x1, y1, x2, y2) in enumerate(self.boxes(index).int().tolist()):
                video[frame, :, y1:y2, x1:x2] = 180
                video[frame, :, (y1 + y2) // 2, (x1 + x2) // 2] = 250
            write_video(self.root / f"{index}.mp4", video, fps=8, crf=1)

    def samples(self, split):
        return [
            Sample(
                str(self.root / f"{index}.mp4"),
                {"boxes": self.boxes(index).numpy(), "labels": [0] * 6, "frames": list(range(6))},
            )
            for index in range(4)
        ]
