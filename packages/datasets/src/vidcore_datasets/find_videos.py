"""Where a data set's videos lie below a folder, however they were unpacked or re-encoded."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from vidcore.errors import UserError
from vidcore.files import VIDEO_ENDINGS


def find_videos(paths: Collection[str], root: str | Path) -> dict[str, str]:
    """Finds files by their names below a folder, which is listed once.

    A file is found at its path, in another folder below ``root``, or with another video ending (re-encoded), or as a
    folder of that name (with its frames). Where several have the name, the one whose folders agree most with the path.

    Args:
        paths: Where the files lie as their owner lays them out, below ``root``.
        root: The folder.

    Returns:
        Path to where it is; what is missing is left out.

    Raises:
        UserError: No such folder.
    """
    if not Path(root).is_dir():
        raise UserError(f"{root} {'is not a folder' if Path(root).exists() else 'does not exist'}: expected the videos")
    wanted = {_stem(os.path.basename(path)) for path in paths}  # noqa: PTH119
    found: dict[str, list[str]] = {}
    for parent, folders, names in os.walk(root, followlinks=True):
        for name in folders:
            if name in wanted:
                found.setdefault(name, []).append(os.path.join(parent, name))  # noqa: PTH118
        folders[:] = [name for name in folders if name not in wanted and not name.startswith(".")]
        for name in names:
            stem = _stem(name)
            if stem in wanted:
                found.setdefault(stem, []).append(os.path.join(parent, name))  # noqa: PTH118
    places = {}
    for path in paths:
        candidates = found.get(_stem(os.path.basename(path)))  # noqa: PTH119
        if candidates:
            places[path] = path if path in candidates else min(candidates, key=lambda place: _distance(path, place))
    return places


def _stem(name: str) -> str:
    """The name without a video's ending; other dots are part of it."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot + ending.lower() in VIDEO_ENDINGS else name


def _distance(path: str, place: str) -> tuple[int, int, str]:
    """Sorts by the number of enclosing folders that agree, then flat before deep, then by name."""
    agree = 0
    for one, other in zip(Path(path).parts[-2::-1], Path(place).parts[-2::-1], strict=False):
        if one != other:
            break
        agree += 1
    return -agree, len(Path(place).parts), place
