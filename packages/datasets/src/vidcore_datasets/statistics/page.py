"""Page of ``vid data stats``: figures as PNG, and one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vidcore.report import figures
from vidcore.report.html import rendered
from vidcore_datasets.statistics.stats import Header, table


def write(
    title: str, headers: Sequence[Header], stats: Mapping[str, Mapping[str, Any]], classes: Sequence[str], folder: Path
) -> None:
    """Write ``index.html`` and its figures to a folder.

    Args:
        title: Title of the page.
        headers: Headers of all files.
        stats: Statistics by split, see ``summary`` and ``class_balance`` in ``vidcore_datasets.statistics.stats``.
        classes: K names; empty for unlabelled data.
        folder: Existing output folder.
    """
    shown = []
    for name, heading, figure in pictures(headers, stats, classes):
        figures.save(figure, folder / f"{name}.png")
        shown.append({"file": f"{name}.png", "heading": heading, "width": round(96 * figure.get_figwidth())})
    page = rendered(
        "vidcore_datasets.statistics", "page.html", title=title, splits=list(stats), rows=table(stats), pictures=shown
    )
    (folder / "index.html").write_text(page, encoding="utf-8", errors="backslashreplace")


def pictures(
    headers: Sequence[Header], stats: Mapping[str, Mapping[str, Any]], classes: Sequence[str]
) -> Iterator[tuple[str, str, Figure]]:
    """Yield file name, heading and figure for everything that is known."""
    splits = dict.fromkeys(header.split for header in headers)
    for name, heading, unit in (("duration", "Duration", "seconds"), ("fps", "Frame rate", "frames a second")):
        values = {
            split or "all": np.array([v for h in headers if h.split == split and (v := getattr(h, name))], float)
            for split in splits
        }
        values = {split: array for split, array in values.items() if len(array)}
        if values:
            yield name, heading, figures.histogram(values, unit)
    sizes = [(header.width, header.height) for header in headers if header.width and header.height]
    if sizes:
        yield "size", "Frame size", figures.frame_sizes(np.array(sizes))
    if classes:
        counts = {split: np.array(of["counts"]) for split, of in stats.items()}
        yield "classes", "Class balance", figures.class_counts(counts, classes)
