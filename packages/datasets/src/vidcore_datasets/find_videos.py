"""Where a data set's videos lie below a folder, however they were unpacked or re-encoded."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from vidcore.errors import UserError
from vidcore.files import VIDEO_ENDINGS


def existing(paths: Collection[str]) -> set[str]:
    """Those of some paths that exist, by listing each folder once: asking for each takes minutes on a network drive."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_folder[path[: path.rfind(os.sep) + 1]].append(path)
    found: set[str] = set()
    for folder, below in by_folder.items():
        with suppress(OSError):
            names = set(os.listdir(folder or "."))  # noqa: PTH208 - Path makes an object of each
            found.update(path for path in below if path[len(folder) :] in names)
    return found


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
    if len(existing(paths)) == len(paths):
        return {path: path for path in paths}
    stems = {path: _stem(path.rpartition(os.sep)[2]) for path in paths}
    wanted = set(stems.values())
    found: dict[str, str] = {}
    namesakes: dict[str, list[str]] = {}
    for parent, folders, names in os.walk(root, followlinks=True):
        for stem, name in [*((name, name) for name in folders), *((_stem(name), name) for name in names)]:
            if stem in wanted:
                place = f"{parent}{os.sep}{name}"
                if found.setdefault(stem, place) is not place:
                    namesakes.setdefault(stem, []).append(place)
        folders[:] = [name for name in folders if name not in wanted and not name.startswith(".")]
    return {
        path: min([found[stem], *namesakes[stem]], key=lambda place: _distance(path, place))
        if stem in namesakes
        else found[stem]
        for path, stem in stems.items()
        if stem in found
    }


def _stem(name: str) -> str:
    """The name without a video's ending; other dots are part of it."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot + ending.lower() in VIDEO_ENDINGS else name


def _distance(path: str, place: str) -> tuple[bool, int, int, str]:
    """Sorts by whether it is the path, by the number of enclosing folders that agree, flat before deep, by name."""
    agree = 0
    for one, other in zip(Path(path).parts[-2::-1], Path(place).parts[-2::-1], strict=False):
        if one != other:
            break
        agree += 1
    return place != path, -agree, len(Path(place).parts), place
