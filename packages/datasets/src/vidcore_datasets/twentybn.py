"""Lists of ``ID;CLASS`` and of class names, as Something-Something and Jester come with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vidcore.classes import checked_classes
from vidcore.dataset import Sample
from vidcore.errors import UserError
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, official_file
from vidcore_datasets.text import read_lines

FPS = 12.0
"""Rate in Hz of the frames, and of the videos, of all three data sets."""

LIST_FOLDERS = ("annotations", "labels")
"""Of the root, where the lists are looked for."""


def with_test(published: Published, size: int) -> Published:
    """The figures with those of the official test split, which the literature leaves alone."""
    return replace(published, sizes={**published.sizes, "test": size})


def read_id_lists(
    root: str | Path, annotation_folder: str | Path | None, published: Published, videos: str, official_test: bool
) -> Annotations:
    """Reads ``PREFIX-labels.csv`` (a class a line), ``PREFIX-train.csv`` and ``PREFIX-validation.csv``.

    Args:
        root: The folder with the videos.
        annotation_folder: Where the lists are, see :func:`~vidcore_datasets.published.official_file`.
        published: Whose lists; names the files.
        videos: The folder in ``root`` that the archives unpack to, such as ``20bn-jester-v1``; without ``20bn-`` it is
            the prefix. Newer downloads have files without one.
        official_test: Whether ``test`` is what ``PREFIX-test-answers.csv`` lists, and not validation again.

    Raises:
        UserError: A file is missing or cannot be understood.
    """
    prefix = videos.removeprefix("20bn-")

    def file(name: str) -> Path:
        names = (f"{prefix}-{name}.csv", f"{name}.csv")
        return official_file(root, names, published, annotation_folder, LIST_FOLDERS)

    folder = Path(root, videos)  # a path object for each video would take most of the time
    classes = checked_classes(read_lines(file("labels")), file("labels"))
    index = {name: number for number, name in enumerate(classes)}

    def samples(name: str) -> list[Sample]:
        ids = read_ids(file(name), index)
        return [Sample(f"{folder}/{video}", label, id=video, fps=FPS) for video, label in ids]

    train, val = samples("train"), samples("validation")
    test = samples("test-answers") if official_test else val
    return Annotations(Task("single_label", classes), {"train": train, "val": val, "test": test})


def read_ids(path: Path, classes: Mapping[str, int]) -> list[tuple[str, int]]:
    """Reads lines of ``ID;CLASS``: ids with the index of the class.

    Raises:
        UserError: A line is not of that form, or names no class.
    """
    found = []
    for number, line in read_lines(path):
        video, separator, name = line.partition(";")
        if not separator:
            raise UserError(f"{path}, line {number}: {line!r} is not ID;CLASS")
        if name not in classes:
            raise UserError(f"{path}, line {number}: {name!r} is not among the {len(classes)} classes")
        found.append((video, classes[name]))
    return found
