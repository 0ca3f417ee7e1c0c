"""Figures from plain numbers; each function returns a matplotlib figure and uses no global state."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter

from vidcore.classes import shown
from vidcore.report.units import called, is_accuracy

LEGIBLE = 50
"""Maximum number of classes that are named along an axis."""

COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#64748b")
GREY = "#94a3b8"


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; characters missing from the font are drawn as boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(path, dpi=150)


def curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Plot loss (left) and accuracy (right) by epoch.

    Args:
        history: One entry per epoch: ``epoch`` from 1, and metrics as ``split/name``.
    """
    names = [name for name in dict.fromkeys(key for row in history for key in row) if "/" in name]
    groups = {
        "loss": [name for name in names if "loss" in name.rpartition("/")[2]],
        "accuracy": [name for name in names if is_accuracy(name)],
    }
    groups = {title: group for title, group in groups.items() if group}
    figure = Figure(figsize=(5.2 * max(1, len(groups)), 3.4), layout="constrained")
    panels = figure.subplots(1, max(1, len(groups)), squeeze=False)[0]
    for axes, (title, group) in zip(panels, groups.items(), strict=False):
        for index, name in enumerate(group):
            points = [(row["epoch"], row[name]) for row in history if name in row]
            split, _, metric = name.partition("/")
            axes.plot(
                *np.transpose(points),
                color=COLOURS[index % len(COLOURS)],
                label=f"{split} {called(name) if is_accuracy(name) else metric}",
                marker="o" if len(points) < 30 else "",
                markersize=3.5,
                zorder=3 - index / 10,  # first curve on top, since curves often coincide
            )
        if title == "accuracy":
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=title, xlabel="epoch")
        axes.legend(frameon=False, fontsize=9)
        _plain(axes)
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Plot the confusion matrix, normalised by true class.

    Args:
        matrix: (K, K) counts, true class by predicted class.
        classes: K names; omitted if there are more than fifty.
    """
    number = len(classes)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    inches = min(12.0, 4.0 + 0.22 * number) if number <= LEGIBLE else 9.0
    figure = Figure(figsize=(inches + 0.8, inches), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.7, format=PercentFormatter(1, decimals=0), label="share of the true class")
    if number <= LEGIBLE:
        size = 9 if number <= 25 else 7
        labels = [_short(name) for name in classes]
        upright = number * max(map(len, labels)) > 60
        axes.set_xticks(range(number), labels, rotation=90 if upright else 0, fontsize=size)
        axes.set_yticks(range(number), labels, fontsize=size)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    if number <= 12:
        for row, column in np.ndindex(number, number):
            if matrix[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                text = f"{100 * shares[row, column]:.0f} %"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(False)
    return figure


def per_class(values: np.ndarray, classes: Sequence[str]) -> Figure:
    """Plot one bar per class, best first.

    Args:
        values: (K,) fractions; NaN for classes that did not occur.
        classes: K names; omitted if there are more than fifty.
    """
    known = [index for index in np.argsort(-values, kind="stable") if not np.isnan(values[index])]
    figure = Figure(figsize=(7.0, max(2.0, min(10.0, 0.8 + 0.24 * len(known)))), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(known)), values[known], color=COLOURS[0], height=0.75)
    axes.set_yticks(
        range(len(known)), [_short(classes[index]) for index in known] if len(known) <= LEGIBLE else [""] * len(known)
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="average precision")
    _plain(axes)
    return figure


def accuracy_gmacs(points: Mapping[str, tuple[float, float]], this: str, metric: str) -> Figure:
    """Plot accuracy against compute of this run and others.

    Args:
        points: GMACs per video and accuracy in [0, 1] by run.
        this: Name of the run to highlight.
        metric: Name of the accuracy metric.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for name, (gmacs, accuracy) in points.items():
        own = name == this
        axes.scatter(gmacs, accuracy, s=70 if own else 35, color=COLOURS[0] if own else GREY, zorder=3 if own else 2)
        if own or len(points) <= 12:
            weight, colour = ("bold", "black") if own else ("normal", "#475569")
            axes.annotate(
                _short(name, 60),
                (gmacs, accuracy),
                (7, 5),
                textcoords="offset points",
                fontsize=8,
                weight=weight,
                color=colour,
            )
    if len(points) > 1 and max(x for x, _ in points.values()) > 10 * min(x for x, _ in points.values()) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.25)
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="GMACs per video", ylabel=metric)
    _plain(axes)
    return figure


def histogram(values: Mapping[str, np.ndarray], unit: str) -> Figure:
    """Plot the distribution of a quantity over each split's videos; logarithmic if it spans more than a factor of 20.

    Args:
        values: (N,) positive numbers by split; at least one.
        unit: Label of the axis.
    """
    every = np.concatenate(list(values.values()))
    low, high = float(every.min()), float(every.max())
    logarithmic = high > 20 * low > 0
    if high - low < 1e-6 * high:  # all equal
        low, high = 0.9 * low, 1.1 * high
    edges = np.geomspace(low, high, 41) if logarithmic else np.linspace(low, high, 41)
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    for index, (split, array) in enumerate(values.items()):
        shares = np.histogram(array, edges)[0] / len(array)
        colour = COLOURS[index % len(COLOURS)]
        axes.stairs(shares, edges, color=colour, linewidth=1.5, label=f"{split} ({len(array):,})")
        axes.stairs(shares, edges, color=colour, fill=True, alpha=0.12)
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel=unit, ylabel="share of the videos")
    axes.legend(frameon=False, fontsize=9)
    _plain(axes)
    return figure


def frame_sizes(sizes: np.ndarray) -> Figure:
    """Plot one dot per frame size; its area shows the number of videos.

    Args:
        sizes: (N, 2) width and height in pixels.
    """
    different, counts = np.unique(sizes, axis=0, return_counts=True)
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.subplots()
    areas = 12 + 500 * counts / counts.sum()
    axes.scatter(different[:, 0], different[:, 1], areas, color=COLOURS[0], alpha=0.5, linewidths=0, zorder=2)
    most = np.argsort(-counts, kind="stable")[:5]
    shares = [f"{different[i, 0]} × {different[i, 1]}: {100 * counts[i] / counts.sum():.0f} %" for i in most]
    axes.text(0.98, 0.04, "\n".join(shares), transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
    axes.set_xlim(0, 1.3 * different[:, 0].max())
    axes.set_ylim(0, 1.1 * different[:, 1].max())
    axes.set(xlabel="width in pixels", ylabel="height in pixels")
    _plain(axes)
    return figure


def class_counts(counts: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Plot the number of labels per class and split, most frequent first.

    Args:
        counts: (K,) by split.
        classes: K names; omitted if there are more than fifty.
    """
    order = np.argsort(-np.sum(list(counts.values()), axis=0), kind="stable")
    few = len(classes) <= LEGIBLE
    height = max(2.4, 1.0 + 0.22 * len(classes)) if few else 3.4
    figure = Figure(figsize=(7.0, height), layout="constrained")
    axes = figure.subplots()
    places, before = np.arange(len(classes)), np.zeros(len(classes))
    for index, (split, number) in enumerate(counts.items()):
        colour, label = COLOURS[index % len(COLOURS)], f"{split} ({number.sum():,})"
        if few:
            axes.barh(places, number[order], left=before, color=colour, height=0.75, label=label)
            before = before + number[order]
        else:
            axes.plot(places + 1, np.sort(number)[::-1], color=colour, label=label)
    if few:
        axes.set_yticks(places, [_short(classes[index]) for index in order])
        axes.invert_yaxis()
        axes.set(xlabel="labels")
    else:
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(0)
        axes.set(xlabel="classes, the most frequent of each split first", ylabel="labels")
    figure.legend(frameon=False, fontsize=9, loc="outside upper right", ncols=3)
    _plain(axes)
    return figure


def _plain(axes: Axes) -> None:
    axes.grid(color="#e2e8f0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)


def _short(name: str, length: int = 28) -> str:
    """Shorten a name and escape dollar signs, which matplotlib would read as a formula."""
    return shown(name, length).replace("$", r"\$")
