"""Where a data set's videos lie below a folder, however they were unpacked or re-encoded."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
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
    folder of that name (with its frames). Where several have the name, it is the one that lies in most of the path's
    folders; where several paths have it, a file must lie in all folders of its path, in whatever depth.

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
    """The name without a video's ending; other dots are part of it."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot + ending.lower() in VIDEO_ENDINGS else name
