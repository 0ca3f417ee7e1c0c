"""Draw train, val and test splits once, stratified by class, and save them in a file."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from vidcore.errors import UserError
from vidcore.writing import from_cell
from vidcore_datasets.inputs import depends_on
from vidcore_datasets.tables import cached_path, write_table_or_cache

logger = logging.getLogger(__name__)

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
HELD_OUT = 0.15
"""Share of a class's clips that val and test get, each."""

_NAMES: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def split_named(name: str) -> Split | None:
    """Return the split called ``name`` (``train``, ``val``, ``valid``, ``validation``, ``test``; any case), or None."""
    return _NAMES.get(name.strip().lower())


def first_few(items: Sequence[str], limit: int = 5) -> str:
    """Return the first items of a list for a message: ``"a, b, c … (12 in all)"``."""
    return ", ".join(items) if len(items) <= limit else f"{', '.join(items[:limit])} … ({len(items)} in all)"


def split_sizes(count: int, splits: Sequence[Split] = SPLITS) -> dict[Split, int]:
    """Return how many of a class's clips each split gets: 15 % and at least one for val and test, the rest for train.

    With fewer clips than splits, the first splits get one each.

    Example:
        >>> split_sizes(20), split_sizes(3), split_sizes(2)
        ({'train': 14, 'val': 3, 'test': 3}, {'train': 1, 'val': 1, 'test': 1}, {'train': 1, 'val': 1, 'test': 0})
    """
    if count < len(splits):
        return {split: int(position < count) for position, split in enumerate(splits)}
    sizes = {split: max(1, round(count * HELD_OUT)) for split in splits[1:]}
    return {splits[0]: count - sum(sizes.values()), **sizes}


def draw_splits(
    strata: Mapping[str, str],
    splits: Sequence[Split] = SPLITS,
    seed: int = 0,
    known: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Draw stratified splits: each stratum is divided by ``split_sizes``.

    Paths are drawn in the order of a hash of seed and path, so the result is the same on any machine and for any order
    of ``strata``.

    Args:
        strata: Path to stratum, usually the class.
        splits: Splits to draw.
        seed: Random seed.
        known: Paths that already have a split and keep it; each new path goes to the split that lacks most clips of its
            stratum.

    Returns:
        Path to split, for each path in ``strata``.
    """
    drawn = {path: split for path, split in (known or {}).items() if path in strata and split in splits}
    members: dict[str, list[str]] = defaultdict(list)
    for path, stratum in strata.items():
        members[stratum].append(path)
    for paths in members.values():
        lacking = Counter(split_sizes(len(paths), splits))
        lacking.subtract(drawn[path] for path in paths if path in drawn)
        new = (path for path in paths if path not in drawn)
        for path in sorted(
            new, key=lambda path: hashlib.sha256(f"{seed}/{path}".encode("utf-8", "surrogateescape")).digest()
        ):
            drawn[path] = max(splits, key=lambda split: lacking[split])
            lacking[drawn[path]] -= 1
    return drawn


def recorded_splits(file: Path) -> Path | None:
    """Return the existing file with the splits that ``remembered_splits`` saved for ``file``; None if there is none."""
    places = [file]
    with suppress(OSError):  # no cache folder
        places.append(cached_path(file, "splits"))
    return next((place for place in places if depends_on(place).is_file()), None)


def remembered_splits(
    strata: Mapping[str, str], file: Path, splits: Sequence[Split] = SPLITS, seed: int = 0
) -> dict[str, Split]:
    """Return the splits saved in ``file``; draw and save them at the first call.

    The file (columns ``path``, ``split``, ``seed``) may be edited or written by hand; ``seed`` is optional. If its
    folder is not writable, a file in the user's cache is used. Paths that the file lacks are drawn and added. Paths in
    the file that no longer exist are kept, with a warning.

    Args:
        strata: Path to stratum, as in ``draw_splits``.
        file: File to save the splits in.
        splits: Splits to draw.
        seed: Random seed for paths that the file lacks.

    Raises:
        UserError: The file is invalid, or a split would be empty because there are too few clips.
    """
    found = recorded_splits(file)
    known: dict[str, Split] = {}
    if found:
        known, seeds = _read(found)
        gone = sorted(known.keys() - strata.keys())
        if gone:
            logger.warning("%s lists files that no longer exist: %s", found, first_few(gone))
        if seeds - {str(seed)}:
            drawn_with = ", ".join(sorted(seeds))
            logger.warning("%s was drawn with seed %s, not %s; its splits are used unchanged", found, drawn_with, seed)
    drawn = draw_splits(strata, splits, seed, known)
    empty = [split for split in splits if split not in drawn.values()]
    if empty:
        raise UserError(
            f"{file.parent}: too few clips to split into {', '.join(splits)} ({len(strata)} clips, nothing left for "
            f"{' and '.join(empty)}); at least one class needs {len(splits)} clips, or define the splits yourself"
        )
    if any(known.get(path) != split for path, split in drawn.items()):
        chosen = {**known, **drawn}
        rows = [(path, chosen[path], seed) for path in sorted(chosen)]
        where = write_table_or_cache(found or file, "splits", ("path", "split", "seed"), rows)
        counts = Counter(drawn.values())
        sizes = ", ".join(f"{split} {counts[split]}" for split in splits)
        logger.info("drew splits (%s) with seed %s, kept in %s", sizes, seed, where or "no file")
    return drawn


def _read(file: Path) -> tuple[dict[str, Split], set[str]]:
    known: dict[str, Split] = {}
    seeds = set()
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
        reader = csv.DictReader(stream)
        if not {"path", "split"} <= set(reader.fieldnames or ()):
            there = ", ".join(reader.fieldnames or ["none"])
            raise UserError(f"{file}: expected the columns path and split, got {there}")
        for row in reader:
            split = split_named(row["split"] or "")
            if split is None:
                where = f"{file}, line {reader.line_num}"
                raise UserError(f"{where}: split must be train, val or test, got {row['split']!r}")
            known[from_cell(row["path"])] = split
            if row.get("seed"):
                seeds.add(row["seed"])
    return known, seeds
