"""Find the videos of a data set below a folder, in any layout or encoding."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from vidcore.errors import UserError
from vidcore.files import VIDEO_ENDINGS


def existing(paths: Collection[str]) -> set[str]:
    """Return the paths that exist. Each folder is listed once: checking each path takes minutes on a network drive."""
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
    """Find files by name below a folder, which is listed once.

    A file is found at its path, in another folder below ``root``, with another video suffix (re-encoded), or as a
    folder of that name (with its frames). If several files have the name, the one that shares most parent folders with
    the path is used. If several paths have the same file name, a file must lie in all parent folders of its path, at
    any depth.

    Args:
        paths: Paths of the files in the official layout, below ``root``.
        root: Folder to search.

    Returns:
        Path in the official layout to the actual path; missing files are left out.

    Raises:
        UserError: ``root`` is not a folder.
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
    wanted_by = Counter(stems.values())
    places = {}
    for path, stem in stems.items():
        if stem not in found:
            continue
        if wanted_by[stem] == 1 and stem not in namesakes:
            places[path] = found[stem]
            continue
        above = set(Path(path).parts[:-1])
        ranked = [
            (place != path, len(above - there), len(there), place)
            for place in (found[stem], *namesakes.get(stem, ()))
            for there in [set(Path(place).parts[:-1])]
            if wanted_by[stem] == 1 or above <= there
        ]
        if ranked:
            places[path] = min(ranked)[-1]
    return places


def _stem(name: str) -> str:
    """Return the name without a video suffix; other dots are part of the name."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot + ending.lower() in VIDEO_ENDINGS else name
