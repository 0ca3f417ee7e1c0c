"""Class folders: one folder of videos per class."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from vidcore.errors import UserError
from vidcore.files import VIDEO_ENDINGS, is_video
from vidcore.reading.index import SampleIndex
from vidcore.task import Task
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations, beginning, complete_splits, warn_of_unseen
from vidcore_datasets.splits import Split, first_few, split_named

logger = logging.getLogger(__name__)


LAYOUT = "expected ROOT/CLASS/VIDEO.mp4, or ROOT/train/CLASS/VIDEO.mp4 with val/ and test/ beside train/"


def read_folder(root: str | Path, seed: int = 0, trained_on: bool | None = None) -> Annotations:
    """Read ``root/CLASS/VIDEO`` or ``root/{train,val,test}/CLASS/VIDEO``.

    Classes are sorted by name. Videos may lie in subfolders of a class folder. Hidden files and folders and files that
    are not videos are ignored. The second layout is used if ``root/train`` has subfolders and contains no video itself;
    val may also be called ``valid`` or ``validation``. Missing splits are drawn by
    ``vidcore_datasets.annotations.complete_splits`` and saved in ``root/splits.csv``.

    Args:
        root: Folder with the videos.
        seed: Random seed of drawn splits.
        trained_on: For evaluation: whether the model was trained on this folder. If not None, the folder may have a
            single class, empty classes, and no ``train``; see also ``vidcore_datasets.annotations.complete_splits``.

    Returns:
        A single-label task and its samples. A sample's id is its path relative to ``root``.

    Raises:
        UserError: ``root`` is not a folder, has fewer than two classes, an empty class, or two folders for one split.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root} {'is not a folder' if root.exists() else 'does not exist'}: {LAYOUT}")
    folders: dict[Split, Path] = {}
    for folder in _folders(root):
        split = split_named(folder.name)
        if split in folders:
            raise UserError(f"{root} has both {folders[split].name}/ and {folder.name}/: keep one of them")
        if split:
            folders[split] = folder
    only_splits = bool(folders) and len(folders) == len(_folders(root))
    if only_splits and "train" not in folders and trained_on is None:
        raise UserError(f"{root} has {', '.join(f'{f.name}/' for f in folders.values())} but no train/: {LAYOUT}")
    first = folders.get("train", next(iter(folders.values())) if only_splits else root)
    if first == root or not _folders(first) or _holds_video(first):
        folders, first = {"train": root}, root

    videos = {split: _videos_by_class(folder) for split, folder in folders.items()}
    empty = [str(first / name) for name, files in videos.get("train", {}).items() if not files]
    if trained_on is not None:
        videos = {split: {name: files for name, files in part.items() if files} for split, part in videos.items()}
    elif empty:
        endings = " ".join(sorted(VIDEO_ENDINGS))
        raise UserError(f"class folders without a video ({endings}): {first_few(empty)}; add videos or delete them")
    classes = sorted(set().union(*videos.values()))
    if not classes:
        raise UserError(f"{first} has no class folders{'' if trained_on is None else ' with videos'}: {LAYOUT}")
    if len(classes) == 1 and trained_on is None:
        only = f"has only one class folder, {classes[0]!r}; at least two are required"
        raise UserError(f"{first} {only}: {LAYOUT}")

    index = {name: number for number, name in enumerate(classes)}
    start = len(beginning(root))
    given: dict[Split, SampleIndex] = {}
    for split, by_class in videos.items():
        paths = [path for files in by_class.values() for path in files]
        targets = [index[name] for name, files in by_class.items() for _ in files]
        given[split] = SampleIndex.labelled(paths, targets, [path[start:].replace(os.sep, "/") for path in paths])
    samples = complete_splits(given, root, root / "splits.csv", seed, trained_on)
    annotations = Annotations(Task("single_label", tuple(classes)), samples)
    warn_of_unseen(annotations, root)
    return annotations


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _shown_video(name: str) -> bool:
    return is_video(name) and not name.startswith(".")


def _holds_video(folder: Path) -> bool:
    return any(_shown_video(entry.name) and entry.is_file() for entry in folder.iterdir())


def _videos_by_class(folder: Path) -> dict[str, list[str]]:
    videos: dict[str, list[str]] = {}
    for class_folder in _folders(folder):
        files = videos[class_folder.name] = []
        for parent, folders, names in os.walk(class_folder, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            files.extend(f"{parent}{os.sep}{name}" for name in sorted(names) if _shown_video(name))
    return videos


class Folder(Annotated):
    """Videos in one folder per class, see [`read_folder`][vidcore_datasets.folder.read_folder].

    Args:
        root: ``root/CLASS/VIDEO.mp4``, or ``root/train/CLASS/VIDEO.mp4`` with ``val`` and ``test`` beside ``train``.
        seed: Random seed of the splits that are drawn if the folder defines none. They are saved in ``root/splits.csv``
            (in the user's cache if the folder is not writable) and reused until that file is deleted.
        **kwargs: Passed to [`VideoDataModule`][vidcore.datamodule.VideoDataModule].
    """

    def __init__(self, root: str, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.seed = seed

    def read(self) -> Annotations:
        """Read the folder."""
        return read_folder(self.root, self.seed, self.trained_on)
