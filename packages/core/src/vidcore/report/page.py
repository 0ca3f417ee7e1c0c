"""Report page of a run: figures as PNG, examples as mp4, and one HTML file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image
from torchmetrics.functional.classification import multiclass_confusion_matrix

from vidcore.metrics import average_precision
from vidcore.report import figures
from vidcore.report.examples import Example
from vidcore.report.html import rendered
from vidcore.report.summary import Summary, points
from vidcore.report.units import COST, called, is_accuracy, written
from vidcore.text import printable, to_json
from vidcore.video.encode import write_video
from vidcore.video.render import draw


def write(summary: Summary, folder: Path, runs: Path) -> None:
    """Write ``index.html``, ``summary.json`` and the figures and examples of the page to a folder.

    Args:
        summary: Content of the page.
        folder: Output folder; existing files are replaced.
        runs: Folder of all runs, searched for runs to compare with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = []
    for name, heading, figure in pictures(summary, runs):
        figures.save(figure, folder / f"{name}.png")
        width = round(96 * figure.get_figwidth())
        shown.append({"file": f"{name}.png", "heading": heading, "width": width})
    examples = [_example(number, example, folder) for number, example in enumerate(summary.examples, start=1)]
    page = rendered(
        "vidcore.report",
        "page.html",
        summary=summary,
        split={"val": "validation"}.get(summary.split, summary.split),
        tiles=tiles(summary),
        metrics=[(name, called(name), written(name, value)) for name, value in sorted(summary.metrics.items())],
        pictures=shown,
        shares={name.split("/share_")[1]: value for name, value in summary.metrics.items() if "/share_" in name},
        examples=examples,
        total=sum(part.gmacs * part.runs for part in summary.components),
    )
    (folder / "index.html").write_text(page, encoding="utf-8", errors="backslashreplace")
    (folder / "summary.json").write_text(to_json(summary.as_dict(), indent=1), encoding="utf-8")


def tiles(summary: Summary) -> list[dict[str, str]]:
    """Return the headline figures of the page: accuracy first, then compute, time and memory."""
    names = [name for name in summary.metrics if name.startswith(f"{summary.split}/")]
    accuracy = sorted((name for name in names if is_accuracy(name)), key=lambda name: name != summary.main)
    cost = [f"{summary.split}/{name}" for name in COST if f"{summary.split}/{name}" in names]
    found = [
        {"name": called(name), "value": written(name, summary.metrics[name]), "note": ""} for name in accuracy + cost
    ]
    judged = [row for row in summary.history if not math.isnan(row.get(summary.main, math.nan))]
    best = max(judged, key=lambda row: row[summary.main], default=None)
    on = f"on {summary.clips} clips" if summary.clips else ""
    if best is not None and found:
        on = f"best {written(summary.main, best[summary.main])}, epoch {best['epoch']:.0f}, {on}".rstrip(", ")
    if found:
        found[0]["note"] = on
    return [*found, {"name": "parameters", "value": f"{summary.parameters / 1e6:.2f} M", "note": ""}]


def pictures(summary: Summary, runs: Path) -> Iterator[tuple[str, str, Figure]]:
    """Yield file name, heading and figure for each figure that the summary has data for."""
    split = {"val": "validation"}.get(summary.split, summary.split)
    if summary.history:
        yield "curves", "Training", figures.curves(summary.history)
    compared = points(summary, runs)
    if summary.point is not None and not any(map(math.isnan, summary.point)):
        yield (
            "accuracy_gmacs",
            f"Accuracy against compute, {split}",
            figures.accuracy_gmacs(compared, summary.run, called(summary.main)),
        )
    if summary.scores is None or summary.targets is None:
        return
    scores, targets = torch.from_numpy(summary.scores), torch.from_numpy(summary.targets)
    classes, number = summary.task.classes, summary.task.num_classes
    if summary.task.kind == "single_label":
        matrix = multiclass_confusion_matrix(scores.argmax(-1), targets, number)
        yield "confusion", f"Confusion, {split}", figures.confusion(matrix.numpy(), classes)
    elif summary.task.kind == "multi_label":
        each = average_precision(scores, targets)
        yield "per_class", f"Average precision by class, {split}", figures.per_class(each.numpy(), classes)


def _example(number: int, example: Example, folder: Path) -> dict[str, Any]:
    """Write the video and its first frame; return its entry on the page."""
    lines = [example.predicted, f"{example.gmacs:.4g} GMACs"]
    drawn = draw(example.frames, lines, example.trace)
    write_video(folder / f"example_{number}.mp4", drawn, fps=example.fps)
    Image.fromarray(drawn[0].permute(1, 2, 0).numpy()).save(folder / f"example_{number}.png")
    return {"file": f"example_{number}", "example": example, "name": printable(Path(example.id).name)}
