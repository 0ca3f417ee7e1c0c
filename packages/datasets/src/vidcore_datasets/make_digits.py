"""Render the moving-digits data set to files, once, safely with several processes."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import track

from vidcore.errors import UserError
from vidcore.files import cache_folder
from vidcore.video.encode import write_video
from vidcore.writing import cell
from vidcore_datasets.render_digits import AUDIO_RATE, VERSION, DigitClip, DigitOptions, draw_clip

logger = logging.getLogger(__name__)

_MARKER = "options.json"
"""Written last; a folder without this file is incomplete."""


def make_moving_digits(
    options: DigitOptions,
    counts: Mapping[str, int],
    root: str | Path | None = None,
    progress: bool = True,
    read_only: bool = False,
) -> Path:
    """Render the data set, unless it exists, and return its folder.

    The folder contains ``SPLIT/INDEX.mp4`` and the annotations: ``labels.csv`` (path, label, label_id, split, glyph,
    motion; the ``csv`` data set can read it), ``boxes.csv`` (path, frame, x1, y1, x2, y2, label, blurred, hidden) and,
    for ``decides=sound``, ``segments.csv`` (path, segment, start, end in seconds, telling: ``picture`` or ``sound``).
    The folder's name contains a digest of options, counts and the version of the renderer. Other processes wait while
    one renders. Files of an interrupted run are deleted by the next.

    Args:
        options: Options of the clips.
        counts: Number of clips by split.
        root: Folder for rendered data sets. Default: the user's cache.
        progress: Whether to show a progress bar on stderr. Default: True.
        read_only: Whether ``root`` must not be written to; if the set is incomplete there, it is rendered into the
            user's cache. Default: False.

    Raises:
        UserError: The folder is not writable.
    """
    description = {"version": VERSION, "counts": dict(counts), **asdict(options)}
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]
    name = f"{options.decides}-{options.frame_size}px-{digest}"
    if read_only and root and not (Path(root) / name / _MARKER).is_file():
        root = None
    try:
        folder = (Path(root) if root else cache_folder() / "moving_digits") / name
        return folder if (folder / _MARKER).is_file() else _made(options, counts, folder, description, progress)
    except OSError as error:
        raise UserError(
            f"moving_digits cannot write its files{f' to {root}' if root else ''}: {error}; "
            "set --data.root to a writable folder"
        ) from error


def _made(
    options: DigitOptions, counts: Mapping[str, int], folder: Path, description: Mapping[str, Any], progress: bool
) -> Path:
    root = folder.parent
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{folder.name}.lock"):
        if (folder / _MARKER).is_file():
            return folder
        unfinished = root / f"{folder.name}.unfinished"
        for remains in (unfinished, folder):
            if remains.exists():
                logger.info("deleting the incomplete %s", remains)
                shutil.rmtree(remains)
        _render(options, counts, unfinished, progress)
        (unfinished / _MARKER).write_text(json.dumps(description, indent=2) + "\n")
        unfinished.rename(folder)
    return folder


def _render(options: DigitOptions, counts: Mapping[str, int], folder: Path, progress: bool) -> None:
    clips = [(split, index) for split, count in counts.items() for index in range(count)]
    folder.mkdir()
    for split in counts:
        (folder / split).mkdir()
    labels: list[tuple] = []
    boxes: list[tuple] = []
    segments: list[tuple] = []
    console = Console(stderr=True)
    title = f"Rendering {len(clips)} clips to {folder.parent}"
    for split, index in track(clips, title, console=console, disable=not progress):
        clip = draw_clip(options, split, index)
        path = f"{split}/{index:05d}.mp4"
        video = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).contiguous()
        audio = None if clip.audio is None else torch.from_numpy(clip.audio)
        write_video(folder / path, video, options.fps, audio=audio, audio_rate=AUDIO_RATE)
        labels.append((path, options.classes[clip.label], clip.label, split, clip.glyph, clip.motion))
        boxes.extend(_box_rows(path, clip, options))
        segments.extend(_segment_rows(path, clip, options))
    _write(folder / "labels.csv", "path,label,label_id,split,glyph,motion", labels)
    _write(folder / "boxes.csv", "path,frame,x1,y1,x2,y2,label,blurred,hidden", boxes)
    if options.decides == "sound":
        _write(folder / "segments.csv", "path,segment,start,end,telling", segments)


def _box_rows(path: str, clip: DigitClip, options: DigitOptions) -> Iterator[tuple]:
    label = options.classes[clip.label]
    for frame, (box, blurred, hidden) in enumerate(zip(clip.boxes, clip.blurred, clip.hidden, strict=True)):
        yield (path, frame, *(int(edge) for edge in box), label, int(blurred), int(hidden))


def _segment_rows(path: str, clip: DigitClip, options: DigitOptions) -> Iterator[tuple]:
    seconds = options.num_frames / options.fps / options.segments
    for segment, telling in enumerate(clip.telling):
        yield path, segment, round(segment * seconds, 4), round((segment + 1) * seconds, 4), telling


def _write(file: Path, header: str, rows: Sequence[tuple]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(map(cell, row) for row in rows)
