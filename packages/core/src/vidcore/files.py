"""Which files are videos, and which a command line names."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from vidcore.cli import UsageError

VIDEO_ENDINGS = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""In lower case; what a folder holds besides is passed over."""


def is_video(name: str) -> bool:
    """Whether a file's name has a video's ending."""
    stem, dot, ending = name.rpartition(".")
    return bool(stem) and dot + ending.lower() in VIDEO_ENDINGS


def expand_paths(arguments: Sequence[str]) -> list[str]:
    """Files as they are, the videos below folders, and what glob patterns match, in order and without repeats.

    Raises:
        UsageError: An argument that stands for nothing.
    """
    paths: list[str] = []
    for argument in arguments:
        if Path(argument).is_dir():
            below = sorted(Path(argument).rglob("*"))
            found = [str(path) for path in below if is_video(path.name) and path.is_file()]
            if not found:
                raise UsageError(f"no video below {argument}; known endings: {' '.join(sorted(VIDEO_ENDINGS))}")
        elif Path(argument).is_file():
            found = [argument]
        else:
            found = sorted(path for path in glob.glob(argument, recursive=True) if Path(path).is_file())
            if not found:
                raise UsageError(f"no file {argument}")
        paths += found
    return list(dict.fromkeys(paths))
