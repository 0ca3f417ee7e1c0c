"""Plan the jobs of a data set, and the names of their outputs."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from vidcore.errors import UserError
from vidcore.redaction import labels
from vidcore.sample import Sample
from vidcore.video.source import is_plain, is_url, size_of
from vidcore_datasets.preparing import shards
from vidcore_datasets.preparing.jobs import Job, Settings, Source
from vidcore_datasets.preparing.samples import SAMPLES, UNREADABLE, as_json
from vidcore_datasets.preparing.target import SETTINGS

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
"""Characters that are not allowed in names by some file system."""

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)", re.IGNORECASE)
"""Prefixes that Windows reserves for devices."""

_OWN = (SAMPLES, SETTINGS, UNREADABLE)

_LONGEST = 200
"""Maximum length of a name in bytes; file systems allow 255, including suffixes."""


def jobs_of(samples: Mapping[str, Sequence[Sample]], settings: Settings) -> list[Job]:
    """Return the jobs for the samples of all splits; a video of several samples is prepared once.

    Raises:
        UserError: Two videos would get the same name, one would lie inside another, or a source of a shard is not a
            file.
    """
    of_path: dict[str, list[tuple[str, Sample]]] = {}
    for split, part in samples.items():
        for sample in part:
            of_path.setdefault(sample.path, []).append((split, sample))
    names = _names(list(of_path), ".mp4" if settings.form == "video" else "")
    if settings.form == "shards":
        return list(_shard_jobs(of_path, names, settings.shard_bytes))
    return [Job(name, (Source(path, of_path[path][0][1].fps),)) for path, name in names.items()]


def _shard_jobs(
    of_path: Mapping[str, Sequence[tuple[str, Sample]]], names: Mapping[str, str], shard_bytes: int
) -> Iterator[Job]:
    sources, size, number = list[Source](), 0, 0
    for path, samples in of_path.items():
        if is_plain(path) and Path(path).is_dir():
            raise UserError(f"{path} is a folder of pictures, and shards hold files: prepare it --as video first")
        with suppress(OSError):  # which the job reports
            size += size_of(path)
        about = {"path": names[path], "samples": [as_json(split, sample) for split, sample in samples]}
        sources.append(Source(path, about=about))
        if size >= shard_bytes:
            yield Job(shards.shard_name(number), tuple(sources))
            sources, size, number = [], 0, number + 1
    if sources:
        yield Job(shards.shard_name(number), tuple(sources))


def _names(paths: Sequence[str], ending: str) -> dict[str, str]:
    """Return names relative to the common folder of all paths, with ``/`` as separator, safe on any file system.

    Args:
        paths: Paths of the videos; ``..`` is resolved.
        ending: Required suffix of each name.

    Raises:
        UserError: Two paths get the same name, or one lies inside another.
    """
    called = labels(paths)
    parts = {
        path: (called[path] if is_url(path) else Path(os.path.abspath(path)).as_posix())  # noqa: PTH100 - no links
        .replace("#bytes=", "-")
        .split("/")
        for path in paths
    }
    # What the first and the last in order share, all in between share.
    first, last = min(parts.values(), default=[]), max(parts.values(), default=[])
    same = (one == other for one, other in zip(first[:-1], last[:-1], strict=False))
    common = sum(1 for _ in itertools.takewhile(bool, same))
    names = {path: "/".join(map(_safe, part[common:])) for path, part in parts.items()}
    names = {path: name if name.lower().endswith(ending) else name + ending for path, name in names.items()}
    _check_distinct(names)
    count = Counter(map(_folded, names.values()))
    return {path: name if count[_folded(name)] == 1 else _marked(name, path) for path, name in names.items()}


def _safe(part: str) -> str:
    """Make a part of a path safe on any file system; changed names get a hash."""
    name = _UNSAFE.sub("_", part).rstrip(". ") or "_"
    if name.startswith(".") or _DEVICE.match(name) or name.lower() in _OWN:
        name = "_" + name
    return name if name == part and len(os.fsencode(name)) <= _LONGEST else _marked(name, part)


def _marked(name: str, of: str) -> str:
    """Add 8 digits of a hash before the suffix of a name, shortened if necessary."""
    folder, slash, name = name.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > 8:
        stem, dot, ending = name, "", ""
    while len(os.fsencode(stem)) > _LONGEST - 40:
        stem = stem[:-1]
    digest = hashlib.sha256(of.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{folder}{slash}{stem}-{digest}{dot}{ending}"


def _check_distinct(names: Mapping[str, str]) -> None:
    found: dict[str, str] = {}
    for path, name in names.items():
        if name in found:
            raise UserError(f"{path} and {found[name]} would both become {name}")
        found[name] = path
    folders = {_folded(name): path for name, path in found.items()}
    for name, path in found.items():
        for folder in PurePosixPath(_folded(name)).parents:
            if str(folder) in folders:
                raise UserError(f"{path} would lie inside {folders[str(folder)]}, since both are videos")


def _folded(name: str) -> str:
    """Return a key that is equal for names that some file system does not distinguish."""
    return unicodedata.normalize("NFC", name.casefold())
