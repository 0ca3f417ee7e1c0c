"""Readers of the file formats of Something-Something and Jester: lists of ``ID;CLASS`` and of class names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vidcore.classes import checked_classes
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, official_file
from vidcore_datasets.text import read_lines

FPS = 12.0
"""Frame rate in Hz of the frames and videos of all three data sets."""

LIST_FOLDERS = ("annotations", "labels")
"""Subfolders of ``root`` that may contain the lists."""


def with_test(published: Published, size: int) -> Published:
    """Add the size of the official test split, which the literature does not use."""
    return replace(published, sizes={**published.sizes, "test": size})


def read_id_lists(
    root: str | Path, annotation_folder: str | Path | None, published: Published, videos: str, official_test: bool
) -> Annotations:
    """Read ``PREFIX-labels.csv`` (one class per line), ``PREFIX-train.csv`` and ``PREFIX-validation.csv``.

    Args:
        root: Folder with the videos.
        annotation_folder: Folder with the lists, see [`official_file`][vidcore_datasets.published.official_file].
        published: Data set that the lists belong to.
        videos: Folder in ``root`` that the archives unpack to, such as ``20bn-jester-v1``; without ``20bn-`` it is the
            prefix of the file names. Newer downloads have no prefix.
        official_test: Whether ``test`` is read from ``PREFIX-test-answers.csv``; otherwise it equals ``val``.

    Raises:
        UserError: A file is missing or invalid.
    """
    prefix = videos.removeprefix("20bn-")

    def file(name: str) -> Path:
        names = (f"{prefix}-{name}.csv", f"{name}.csv")
        return official_file(root, names, published, annotation_folder, LIST_FOLDERS)

    folder = Path(root, videos)  # paths are joined as text: Path objects would take most of the time
    classes = checked_classes(read_lines(file("labels")), file("labels"))
    index = {name: number for number, name in enumerate(classes)}

    def samples(name: str) -> list[Sample]:
        ids = read_ids(file(name), index)
        return [Sample(f"{folder}/{video}", label, id=video, fps=FPS) for video, label in ids]

    train, val = samples("train"), samples("validation")
    test = samples("test-answers") if official_test else val
    return Annotations(Task("single_label", classes), {"train": train, "val": val, "test": test})


def read_ids(path: Path, classes: Mapping[str, int]) -> list[tuple[str, int]]:
    """Read lines of ``ID;CLASS``; return pairs of id and class index.

    Raises:
        UserError: A line has another format or an unknown class.
    """
    found = []
    for number, line in read_lines(path):
        video, separator, name = line.partition(";")
        if not separator:
            raise UserError(f"{path}, line {number}: expected ID;CLASS, got {line!r}")
        if name not in classes:
            raise UserError(f"{path}, line {number}: {name!r} is not among the {len(classes)} classes")
        found.append((video, classes[name]))
    return found
