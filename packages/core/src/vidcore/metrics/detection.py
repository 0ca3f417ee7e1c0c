"""Mean average precision of detections over every frame of every clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vidcore.distributed import gathered
from vidcore.errors import UserError

_Boxes = dict[str, Tensor]


class DetectionMetrics(Metric):
    """COCO mean average precision over every frame of every clip, through torchmetrics.

    ``compute`` returns ``map`` (IoU 0.50 to 0.95) and ``map50``, fractions in [0, 1]; NaN where a box or score is.

    Raises:
        UserError: No backend is installed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clips: list[tuple[list[_Boxes], list[_Boxes]]] = []
        self._average_precision()

    def update(self, detections: Sequence[_Boxes], target: Sequence[_Boxes], frames: int) -> None:
        """Adds clips of ``frames`` frames: detections and targets as in ``Output`` and ``Batch``."""
        for found, true in zip(detections, target, strict=True):
            self.clips.append((per_frame(found, frames), per_frame(true, frames)))

    def compute(self) -> dict[str, Tensor]:
        """The metrics over all frames so far, of all processes; none where there was no clip."""
        # Not through torchmetrics, which waits for ever where processes have unequally many frames.
        clips = [clip for part in gathered(self.clips) for clip in part]
        if not clips:
            return {}
        boxes = [frame[name] for found, _ in clips for frame in found for name in ("boxes", "scores")]
        if any(value.isnan().any() for value in boxes):
            return {"map": torch.tensor(torch.nan), "map50": torch.tensor(torch.nan)}
        metric = self._average_precision()
        for found, true in clips:
            metric.update(found, true)
        result: dict[str, Any] = metric.compute()
        return {"map": result["map"], "map50": result["map_50"]}

    def reset(self) -> None:
        """Forgets everything."""
        super().reset()
        self.clips = []

    def _average_precision(self) -> Metric:
        from torchmetrics.detection import MeanAveragePrecision

        try:
            return MeanAveragePrecision(backend="faster_coco_eval", sync_on_compute=False)  # type: ignore[arg-type]
        except ModuleNotFoundError as error:
            raise UserError('detection needs a COCO backend: pip install "vidcore[detection]"') from error


def per_frame(boxes: _Boxes, frames: int) -> list[_Boxes]:
    """A clip's boxes as torchvision has them, one dict a frame."""
    return [
        {name: value[boxes["frames"] == frame].cpu() for name, value in boxes.items() if name != "frames"}
        for frame in range(frames)
    ]
