"""Unlabelled videos for pre-training."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, ClassVar

from vidcore.errors import UserError
from vidcore.files import VIDEO_ENDINGS, is_video
from vidcore.reading.index import SampleIndex
from vidcore.task import Task
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations, beginning


def read_unlabelled(root: str | Path, val_share: float = 0.1) -> dict[str, SampleIndex]:
    """List the videos below a folder, at any depth, as ``train`` and ``val``.

    Hidden files and folders and files that are not videos are ignored. The videos whose paths have the lowest hashes go
    to val (at least one if there are two or more), so the split is always the same.

    Args:
        root: Folder with the videos.
        val_share: Share of the videos for val, in [0, 1); 0 for none. Default: 0.1.

    Returns:
        Samples by split, sorted by path, with target 0. A sample's id is its path relative to ``root``.

    Raises:
        UserError: ``root`` is not a folder or has no video, or ``val_share`` is out of range.
    """
    root = Path(root)
    if not 0 <= val_share < 1:
        raise UserError(f"val_share must be at least 0 and below 1, got {val_share}")
    if not root.is_dir():
        raise UserError(
            f"{root} {'is not a folder' if root.exists() else 'does not exist'}: expected a folder of videos"
        )
    ids: list[str] = []
    for parent, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(parent, root).replace(os.sep, "/") + "/"
        ids += [f"{below}{name}".removeprefix("./") for name in names if is_video(name) and not name.startswith(".")]
    ids.sort()
    if not ids:
        raise UserError(f"{root} has no video ({' '.join(sorted(VIDEO_ENDINGS))}) at any depth")
    count = max(1, min(round(len(ids) * val_share), len(ids) - 1)) if val_share and len(ids) > 1 else 0
    held_out = set(
        sorted(ids, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())[:count]
    )
    parts = {"train": [name for name in ids if name not in held_out], "val": [name for name in ids if name in held_out]}
    folder = beginning(root)
    return {
        split: SampleIndex.labelled([f"{folder}{name}" for name in part], [0] * len(part), part)
        for split, part in parts.items()
    }


class Unlabelled(Annotated):
    """Unlabelled videos below a folder, see [`read_unlabelled`][vidcore_datasets.unlabelled.read_unlabelled].

    Args:
        root: Folder with the videos.
        val_share: Share of the videos for val, in [0, 1); at least one of two or more, always the same. Default: 0.1.
        **kwargs: Passed to [`VideoDataModule`][vidcore.datamodule.VideoDataModule].
    """

    RANGES: ClassVar[dict[str, str]] = {"val_share": "[0, 1)"}
    task = Task("single_label", ("video",))

    def __init__(self, root: str, val_share: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.val_share = val_share

    def read(self) -> Annotations:
        """Read the videos as ``train`` and ``val``, the only splits."""
        return Annotations(self.task, read_unlabelled(self.root, self.val_share))
