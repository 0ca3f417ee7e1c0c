"""What ``vid data prepare`` wrote: re-encoded videos, folders of frames, or shards; here, or in an object store."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from vidcore.dataset import Sample
from vidcore.errors import UserError
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
    """Reads ``samples.jsonl``: the task and the samples as they were, with the paths of the prepared videos.

    Args:
        root: The folder, or a URL that fsspec reads: ``s3://bucket/shards``.

    Raises:
        UserError: The file is missing, of another version or damaged, or a shard is missing or not as long as it was.
            The text names the file, and the line or the shard.
    """
    file = joined(root, SAMPLES)
    try:
        lines = read_bytes(file).decode("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        raise UserError(f"{file} does not exist: `vid data prepare` writes it last, run it to its end") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    number = 0
    try:
        head = json.loads(lines[number])
        if head["version"] != VERSION:
            raise UserError(
                f"{file} is of version {head['version']}, and this vidcore reads {VERSION}: prepare it anew"
            )
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
    target = row.pop("target", None)
    return Sample(joined(root, path), tuple(target) if isinstance(target, list) else target, **row)


def _below(path: str) -> str:
    """The path, which must be one of a file below the folder on any system.

    Raises:
        ValueError: It leads out of it.
    """
    for kind in (PurePosixPath(path), PureWindowsPath(path)):
        if kind.is_absolute() or kind.anchor or ".." in kind.parts or "://" in path:
            raise ValueError(f"path {path!r} leads out of the folder")
    return path


def _check_lengths(root: str, lengths: Mapping[str, int]) -> None:
    """A shard that was cut off would be missed only where its last videos are wanted."""
    if not lengths:
        return
    fs, folder = filesystem(str(root))
    names = [f"{folder.rstrip('/')}/{name}" for name in lengths]
    try:
        sizes = fs.sizes(names)
    except FileNotFoundError as error:
        raise UserError(f"a shard of {root} is missing: {without_secrets_of(root, str(error))}") from error
    except Exception as error:  # of whatever library the store needs
        raise UserError(f"the shards of {root} cannot be read: {without_secrets_of(root, str(error))}") from error
    for name, wanted, there in zip(lengths, lengths.values(), sizes, strict=True):
        if there is None:
            where = redacted(root)
            logger.warning("%s does not tell how long its shards are: whether all are whole is not checked", where)
            return
        if there != wanted:
            raise UserError(
                f"{joined(root, name)} is truncated or was replaced: it has {there} bytes, not {wanted}; "
                "run the same `vid data prepare` again"
            )


class Prepared(Annotated):
    """What ``vid data prepare`` wrote, with the task, the splits and the ids of the data set that it was made from.

    Samples whose videos could not be read when it was prepared are left out.

    Args:
        root: The folder, or a URL that fsspec reads: ``s3://bucket/shards``.
        **kwargs: See :class:`~vidcore.datamodule.VideoDataModule`.
    """

    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root

    def read(self) -> Annotations:
        """See :func:`read_prepared`."""
        return read_prepared(self.root)
