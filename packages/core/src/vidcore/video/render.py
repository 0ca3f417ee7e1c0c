"""Draw predictions and model decisions onto frames."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vidcore.classes import shown
from vidcore.clip import ClipSpec

DRAWN_SCORE = 0.3
"""Detections with a lower score are not drawn."""

# Pillow's own font supports ASCII only.
_FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
_LONGEST = 200  # maximum characters of a line
_LEGIBLE = 240  # minimum short side in pixels for legible text


def draw(frames: Tensor, lines: Sequence[str], trace: Mapping[str, Any] | None = None) -> Tensor:
    """Draw boxes on frames, and text in a band below.

    Frames whose short side is below 240 pixels are first enlarged by the smallest sufficient integer factor.

    Args:
        frames: (T, 3, H, W) uint8.
        lines: Lines of text for all frames; long lines are wrapped, and cut after 200 characters.
        trace: Boxes to draw, in pixels of ``frames``. ``windows``: (T, 4) x1, y1, x2, y2, drawn yellow. ``boxes``: for
            each frame a mapping of ``boxes`` (N, 4) and optionally ``labels`` (N names or numbers) and ``scores`` (N,),
            drawn green. ``decisions``: by component, a bool for each part of the video, drawn as a strip below each
            frame. Boxes without area or with coordinates that are not finite are skipped; other keys are ignored.

    Returns:
        (T, 3, H', W') uint8; H' and W' are even, as video encoders require.
    """
    trace = trace or {}
    height, width = frames.shape[-2:]
    factor = -(-_LEGIBLE // min(height, width))
    height, width = height * factor, width * factor
    font = ImageFont.truetype(str(_FONT), max(13, min(height, width) // 22))

    text = "\n".join(part for line in lines for part in _broken(shown(line, _LONGEST), width - 12, font))
    band = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((6, 4), text, font)[3] + 6 if text else 0
    decisions = trace.get("decisions", {})
    line = int(1.5 * font.size)
    strip = line * len(decisions)
    canvas = Image.new("RGB", _even(width, height + strip + band))
    ImageDraw.Draw(canvas).multiline_text((6, height + strip + 4), text, "white", font)

    drawn = []
    for index, frame in enumerate(frames.permute(0, 2, 3, 1).cpu().numpy()):
        picture = Image.fromarray(np.ascontiguousarray(frame)).resize((width, height), Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(picture)
        if "windows" in trace:
            _outline(pen, [trace["windows"][index]], [""], factor, "yellow", font)
        if "boxes" in trace:
            found = trace["boxes"][index]
            _outline(pen, found["boxes"], _captions(found), factor, "lime", font)
        whole = canvas.copy()
        whole.paste(picture)
        for row, (name, ran) in enumerate(decisions.items()):
            now, top = index * len(ran) // len(frames), height + row * line
            _decided(ImageDraw.Draw(whole), (0, top, width, top + line), shown(name, 30), ran, now, font)
        drawn.append(torch.from_numpy(np.array(whole)))
    return torch.stack(drawn).permute(0, 3, 1, 2)


def _decided(
    pen: ImageDraw.ImageDraw, place: tuple[int, int, int, int], name: str, ran: Sequence[bool], now: int, font: Any
) -> None:
    """Draw a cell per part of the video, green where the component ran; the current one has a white outline."""
    left, top, right, bottom = place
    for part, each in enumerate(ran):
        cell = (left + (right - left) * part // len(ran), top + 1, left + (right - left) * (part + 1) // len(ran) - 2)
        outline = "white" if part == now else None
        pen.rectangle((*cell, bottom - 2), fill="green" if each else "#333333", outline=outline, width=2)
    pen.text((left + 6, top + 2), name, "white", font)


def boxes_in(detections: Sequence[Mapping[str, Any]], frame: int) -> dict[str, Any]:
    """Return the detections of one frame with a score of at least ``DRAWN_SCORE``, as ``draw`` takes them.

    Args:
        detections: As in the rows of ``vid predict``: ``frame``, ``class``, ``score`` and ``box``.
        frame: Number of the frame.
    """
    found = [each for each in detections if each["frame"] == frame and each["score"] >= DRAWN_SCORE]
    names = {"boxes": "box", "labels": "class", "scores": "score"}
    return {name: [each[key] for each in found] for name, key in names.items()}


def frames_of(clip: Tensor, spec: ClipSpec) -> Tensor:
    """Undo the normalisation of a clip and return its frames on the CPU.

    Args:
        clip: (3, T, H, W) float, normalised by the clip spec's mean and std.
        spec: Clip spec.

    Returns:
        (T, 3, H, W) uint8.
    """
    mean, std = (torch.tensor(value).reshape(3, 1, 1, 1) for value in (spec.mean, spec.std))
    return ((clip.detach().float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).transpose(0, 1)


def _even(width: float, height: float) -> tuple[int, int]:
    return 2 * math.ceil(width / 2), 2 * math.ceil(height / 2)


def _broken(line: str, width: int, font: Any) -> list[str]:
    """Wrap a line to the given width, with a margin of a tenth since letters differ in width."""
    room = 0.9 * width / max(font.getlength(line), 1)
    return [line] if room >= 0.9 else textwrap.wrap(line, max(1, int(room * len(line))))


def _captions(found: Mapping[str, Any]) -> list[str]:
    """Return the caption of each box: label and score, if known."""
    columns = []
    if "labels" in found:
        labels = found["labels"]
        columns.append([shown(str(label)) for label in (labels.tolist() if isinstance(labels, Tensor) else labels)])
    if "scores" in found:
        columns.append([f"{float(score):.2f}" for score in found["scores"]])
    return [" ".join(words) for words in zip(*columns, strict=True)] or [""] * len(found["boxes"])


def _outline(pen: ImageDraw.ImageDraw, boxes: Any, captions: list[str], factor: int, colour: str, font: Any) -> None:
    """Draw boxes (N, 4), each with its caption inside its upper left corner, shifted to lie inside the frame."""
    width, height = pen.im.size
    line = max(2, int(font.size) // 7)
    for box, caption in zip(boxes, captions, strict=True):
        left, top, right, bottom = (float(value) * factor for value in box)
        if not (-math.inf < left < right < math.inf and -math.inf < top < bottom < math.inf):  # NaN among them
            continue
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=line)
        if caption:
            _, _, wide, high = pen.textbbox((0, 0), caption, font)
            corner = (max(0, min(left + line + 1, width - wide)), max(0, min(top + line, height - high)))
            pen.rectangle(pen.textbbox(corner, caption, font), fill=colour)
            pen.text(corner, caption, "black", font)
