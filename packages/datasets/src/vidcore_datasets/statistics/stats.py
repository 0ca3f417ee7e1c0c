"""Statistics of a data set's videos from their headers. Does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from vidcore.classes import shown
from vidcore.files import pictures
from vidcore.video.container import open_container
from vidcore_datasets.commands.isolated import IsolatedError, run_isolated

QUANTILES = {"min": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "max": 1.0}


@dataclass
class Header:
    """Header of a file: one row of ``files.csv``. Unknown values are None."""

    path: str
    split: str = ""
    codec: str = ""
    frames: int | None = None
    """Number of frames according to the container (few formats but mp4 store it), or of images in a folder."""
    fps: float | None = None
    width: int | None = None
    """Width in pixels as stored; height likewise."""
    height: int | None = None
    duration: float | None = None
    """Duration in seconds."""
    audio: str = ""
    """Audio codec; empty without audio."""
    bytes: int = 0
    error: str = ""
    """Reason why the file cannot be opened."""


def read_headers(paths: Sequence[str], workers: int = 1, timeout: float = 60.0) -> Generator[Header, None, None]:
    """Read headers with ``read_header`` in ``workers`` processes; yield each when it is ready.

    Args:
        paths: Files, and folders of frames.
        workers: Number of processes.
        timeout: Time limit per file in seconds.
    """
    with closing(run_isolated(read_header, paths, workers, lambda path: timeout)) as headers:
        for path, header in headers:
            yield Header(path, error=str(header)) if isinstance(header, IsolatedError) else header


def read_header(path: str) -> Header:
    """Read the header of a file; of a folder of frames, the number of images and the size of the first."""
    header = Header(path)
    try:
        if Path(path).is_dir():
            names = pictures(path)
            if not names:
                raise ValueError("has no pictures")
            header.bytes = sum(Path(path, name).stat().st_size for name in names)
            _read(Path(path, names[0]), header)
            header.frames, header.fps, header.duration = len(names), None, None
        else:
            header.bytes = Path(path).stat().st_size
            _read(Path(path), header)
    except (av.FFmpegError, OSError, ValueError) as error:
        header.error = getattr(error, "strerror", None) or str(error)
    return header


def _read(path: Path, header: Header) -> None:
    with open_container(str(path)) as container:
        video = next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)
        if video is None or video.codec_context is None:
            raise ValueError("has no video stream")
        header.codec = video.codec_context.name
        header.width, header.height = video.codec_context.width, video.codec_context.height
        header.frames = video.frames or None
        header.fps = round(float(video.average_rate or video.guessed_rate or 0), 3) or None
        header.duration = round(container.duration / av.time_base, 3) if container.duration else None
        sound = next((stream for stream in container.streams.audio if stream.codec_context), None)
        header.audio = sound.codec_context.name if sound else ""


def summary(headers: Sequence[Header]) -> dict[str, Any]:
    """Summarise the videos of one split: counts, hours, and quantiles."""
    good = [header for header in headers if not header.error]
    seconds = [header.duration for header in good if header.duration]
    return {
        "files": len(headers),
        "unreadable": len(headers) - len(good),
        "with_sound": sum(bool(header.audio) for header in good),
        "hours": sum(seconds) / 3600,
        "gigabytes": sum(header.bytes for header in headers) / 1e9,
        "duration": quantiles(seconds),
        "fps": quantiles([header.fps for header in good if header.fps]),
        "short_side": quantiles([min(h.width, h.height) for h in good if h.width and h.height]),
        "codecs": _counts([header.codec for header in good]),
    }


def class_balance(labels: np.ndarray, classes: Sequence[str], some: int = 5) -> dict[str, Any]:
    """Count the labels of each class.

    Args:
        labels: (L,) class indices.
        classes: Class names.
        some: Number of most and least frequent classes to name.
    """
    counts = np.bincount(labels, minlength=len(classes))
    order = [int(index) for index in np.argsort(-counts, kind="stable")]
    present = counts[counts > 0]
    return {
        "classes": len(classes),
        "without_sample": int((counts == 0).sum()),
        "samples_per_class": quantiles(present.tolist()),
        "imbalance": float(present.max() / present.min()) if len(present) else None,
        "most": {classes[index]: int(counts[index]) for index in order[:some]},
        "least": {classes[index]: int(counts[index]) for index in order[::-1][:some]},
        "counts": counts.tolist(),
    }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, quantiles and maximum; empty without values."""
    if not len(values):
        return {}
    return {name: float(np.quantile(values, share)) for name, share in QUANTILES.items()}


def _counts(values: Sequence[str]) -> Mapping[str, int]:
    names, counts = np.unique(values, return_counts=True)
    return {str(names[index]): int(counts[index]) for index in np.argsort(-counts, kind="stable")}


def table(stats: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Format statistics by split as text: a name and one cell per split in each row."""
    rows: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "files": lambda of: f"{of['files']:,}",
        "cannot be opened": lambda of: f"{of['unreadable']:,}",
        "with sound": lambda of: f"{of['with_sound']:,}",
        "hours": lambda of: f"{of['hours']:,.2f}",
        "GB": lambda of: f"{of['gigabytes']:,.2f}",
        "seconds: min, median, max": lambda of: _three(of["duration"]),
        "frames a second": lambda of: _three(of["fps"]),
        "short side in pixels": lambda of: _three(of["short_side"]),
        "codecs": lambda of: _named(of["codecs"]),
    }
    if all("classes" in of for of in stats.values()):
        rows |= {
            "samples": lambda of: f"{of['samples']:,}",
            "classes": lambda of: f"{of['classes']:,}",
            "classes without a sample": lambda of: f"{of['without_sample']:,}",
            "labels a class": lambda of: _three(of["samples_per_class"]),
            "most to fewest": lambda of: f"{of['imbalance']:.3g}" if of["imbalance"] else "–",
            "most frequent": lambda of: _named(of["most"]),
            "least frequent": lambda of: _named(of["least"]),
        }
    return [(name, [text(of) for of in stats.values()]) for name, text in rows.items()]


def _three(values: Mapping[str, float]) -> str:
    return ", ".join(f"{values[name]:.4g}" for name in ("min", "median", "max")) if values else "–"


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{shown(name)} {count:,}" for name, count in list(counts.items())[:3])
