"""Output of ``vid data prepare``: re-encoded videos, folders of frames, or shards, on disk or in an object store."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.redaction import redacted, without_secrets_of
from vidcore.task import Task
from vidcore.video.source import filesystem, joined, read_bytes
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.splits import SPLITS

SAMPLES = "samples.jsonl"
VERSION = 1

logger = logging.getLogger(__name__)


def read_prepared(root: str) -> Annotations:
    """Read ``samples.jsonl``: the original task and samples, with the paths of the prepared videos.

    Args:
        root: Folder, or URL that fsspec can read: ``s3://bucket/shards``.

    Raises:
        UserError: The file is missing, damaged or of another version, or a shard is missing or of the wrong length. The
            message names the file, and the line or the shard.
    """
    file = joined(root, SAMPLES)
    try:
        lines = read_bytes(file).decode("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        raise UserError(f"{file} does not exist: `vid data prepare` writes it last; run it to completion") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    number = 0
    try:
        head = json.loads(lines[number])
        if head["version"] != VERSION:
            raise UserError(f"{file} has version {head['version']}, expected {VERSION}: run `vid data prepare` again")
        task, lengths = Task.of(head["task"]), {_below(name): size for name, size in head["shards"].items()}
        for number in range(1, len(lines)):
            row = json.loads(lines[number])
            samples[row.pop("split")].append(_sample(root, row))
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{file}, line {number + 1}: {error}") from error
    _check_lengths(root, lengths)
    return Annotations(task, samples)


def _sample(root: str, row: dict[str, Any]) -> Sample:
    path = _below(row.pop("path"))
    for name in ("start", "end", "fps"):
        if not isinstance(row.get(name, 0.0), int | float):
            raise ValueError(f"{name} must be a number, got {row[name]!r}")
    target = row.pop("target", None)
    return Sample(joined(root, path), tuple(target) if isinstance(target, list) else target, **row)


def _below(path: str) -> str:
    """Return the path after checking that it lies below the folder on any system.

    Raises:
        ValueError: It leads out of the folder.
    """
    for kind in (PurePosixPath(path), PureWindowsPath(path)):
        if kind.is_absolute() or kind.anchor or ".." in kind.parts or "://" in path:
            raise ValueError(f"path {path!r} leads out of the folder")
    return path


def _check_lengths(root: str, lengths: Mapping[str, int]) -> None:
    """Check the length of all shards; a truncated shard would otherwise fail only when its last videos are read."""
    if not lengths:
        return
    fs, folder = filesystem(str(root))
    names = [f"{folder.rstrip('/')}/{name}" for name in lengths]
    try:
        sizes = fs.sizes(names)
    except FileNotFoundError as error:
        raise UserError(f"a shard of {root} is missing: {without_secrets_of(root, str(error))}") from error
    except Exception as error:  # depends on the library of the object store
        raise UserError(f"the shards of {root} cannot be read: {without_secrets_of(root, str(error))}") from error
    for name, wanted, there in zip(lengths, lengths.values(), sizes, strict=True):
        if there is None:
            where = redacted(root)
            logger.warning("%s does not report the size of its shards: truncated shards are not detected", where)
            return
        if there != wanted:
            raise UserError(
                f"{joined(root, name)} is truncated or was replaced: it has {there} bytes, expected {wanted}; "
                "run the same `vid data prepare` again"
            )


class Prepared(Annotated):
    """Output of ``vid data prepare``, with the task, splits and ids of the original data set.

    Samples whose videos could not be read by ``vid data prepare`` are left out.

    Args:
        root: Folder, or URL that fsspec can read: ``s3://bucket/shards``.
        **kwargs: Passed to [`VideoDataModule`][vidcore.datamodule.VideoDataModule].
    """

    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root

    def read(self) -> Annotations:
        """See [`read_prepared`][vidcore_datasets.prepared.read_prepared]."""
        return read_prepared(self.root)
