"""Kinetics: ten-second YouTube clips of one human action, in editions of 400, 600 and 700 classes.

Source:
    Videos and annotations: Common Visual Data Foundation, https://github.com/cvdfoundation/kinetics-dataset
    (Kinetics-700 of 2019: annotations at
    https://storage.googleapis.com/deepmind-media/Datasets/kinetics700.tar.gz, videos among those of 2020).

Licence:
    Annotations: CC BY 4.0. Videos: copyright of the uploaders.

Splits:
    | edition            | train   | val    | test   |
    | ------------------ | ------- | ------ | ------ |
    | `kinetics400`      | 246,534 | 19,906 | 39,805 |
    | `kinetics600`      | 392,622 | 30,000 | 72,924 |
    | `kinetics700`      | 545,317 | 35,000 | 70,000 |
    | `kinetics700_2020` | 545,793 | 34,256 | 67,858 |

    Rows of the annotation files, including videos that are no longer available. Verified: all of 400 (the foundation's
    own count of its files), val and test of 600 (counted in the copy of ActivityNet's crawler). The others are as
    cited and were not counted.

Test:
    If ``test.csv`` has no labels (400 from DeepMind, 600 from the crawler, 700), ``test`` uses ``val``.

Citation:
    Kay et al., The Kinetics Human Action Video Dataset, arXiv:1705.06950; Carreira et al., A Short Note about
    Kinetics-600, arXiv:1808.01340; Carreira et al., A Short Note on the Kinetics-700 Human Action Dataset,
    arXiv:1907.06987; Smaira et al., A Short Note on the Kinetics-700-2020 Human Action Dataset, arXiv:2010.10864.

Replace the broken files in ``train`` by those of ``replacement_for_corrupted_k400``. Some ``val`` videos of one edition
are ``train`` videos of another: do not test on one edition after training on another.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.tables import read_table

_URL = "https://github.com/cvdfoundation/kinetics-dataset"

EDITIONS = {
    edition.name: edition
    for edition in (
        Published("kinetics400", _URL, 400, {"train": 246_534, "val": 19_906, "test": 39_805}),
        Published("kinetics600", _URL, 600, {"train": 392_622, "val": 30_000, "test": 72_924}),
        Published("kinetics700", _URL, 700, {"train": 545_317, "val": 35_000}),
        Published("kinetics700_2020", _URL, 700, {"train": 545_793, "val": 34_256, "test": 67_858}),
    )
}
"""Published figures by edition."""

# DeepMind's file is called validate, the foundation's val; ActivityNet's crawler adds the edition as a prefix.
_PATTERNS = {
    split: [f"{front}{name}.{ending}" for front in ("", "kinetics*_") for name in names for ending in ("csv", "txt")]
    for split, names in {"train": ["train"], "val": ["val", "validate"], "test": ["test"]}.items()
}


def read_kinetics(
    root: str | Path, edition: str = "kinetics400", annotation_folder: str | Path | None = None
) -> Annotations:
    """Read the official ``train.csv``, ``val.csv`` (or ``validate.csv``) and, if it exists, ``test.csv``.

    Columns: ``label``, ``youtube_id``, ``time_start``, ``time_end``; others are ignored. Classes are sorted by name.
    The official layout is ``root/SPLIT/LABEL/ID_000010_000020.mp4``; videos elsewhere below ``root`` are found by name,
    see [`find_videos`][vidcore_datasets.find_videos.find_videos].

    Args:
        root: Folder with the videos.
        edition: Key of [`EDITIONS`][vidcore_datasets.kinetics.EDITIONS], for messages; all editions use the same
            format.
        annotation_folder: Folder with the CSV files. Default: ``root`` or ``root/annotations``.

    Returns:
        A single-label task and its samples, without test if that is unlabelled. A sample's id is the clip's name,
        ``ID_000010_000020``.

    Raises:
        UserError: A file, a column or a cell is missing, or a time is not a number.
    """
    published = EDITIONS[edition]
    rows: dict[str, list[tuple[str, str]]] = {}
    for split, patterns in _PATTERNS.items():
        try:
            file = official_file(root, patterns, published, annotation_folder)
        except UserError:
            if split != "test":
                raise
            continue
        rows[split] = list(_clips(file, labelled=split != "test"))
    classes = sorted({label for label, _ in rows["train"]})
    index = {name: number for number, name in enumerate(classes)}
    unseen = sorted({label for part in rows.values() for label, _ in part} - index.keys())
    if unseen:
        what = f"no training clip has the class {unseen[0]!r} of another split; are all files of the same edition?"
        raise UserError(f"{published.name} in {annotation_folder or root}: {what}")
    samples = {}
    for split, part in rows.items():
        folders = {label: Path(root, split, label) for label in classes}  # paths are joined as text, for speed
        if part:
            samples[split] = [Sample(f"{folders[label]}/{clip}.mp4", index[label], id=clip) for label, clip in part]
    return Annotations(Task("single_label", tuple(classes)), samples)


def _clips(file: Path, labelled: bool) -> Iterator[tuple[str, str]]:
    """Yield label and name of each clip; nothing if the file has no labels and ``labelled`` is False."""
    lines = read_table(file)
    _, header = next(lines, (1, []))
    try:
        video, start, end = (header.index(name) for name in ("youtube_id", "time_start", "time_end"))
        label = header.index("label")
    except ValueError as error:
        if not labelled and "label" not in header:
            return
        raise UserError(f"{file}, line 1: {error}; expected label,youtube_id,time_start,time_end") from error
    for line, cells in lines:
        try:
            found = cells[label], f"{cells[video]}_{int(cells[start]):06d}_{int(cells[end]):06d}"
        except (IndexError, ValueError) as error:
            raise UserError(f"{file}, line {line}: expected {','.join(header)}, got {','.join(cells)!r}") from error
        if found[0]:
            yield found


class Kinetics400(PublishedData):
    """Kinetics-400, see [`vidcore_datasets.kinetics`][] and [`read_kinetics`][vidcore_datasets.kinetics.read_kinetics].

    Args:
        root: Folder with the videos, in class folders or flat.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    published = EDITIONS["kinetics400"]

    def read(self) -> Annotations:
        """Read the CSV files."""
        return read_kinetics(self.root, self.published.name, self.annotation_folder)


class Kinetics600(Kinetics400):
    """Kinetics-600; same options as [`Kinetics400`][vidcore_datasets.kinetics.Kinetics400]."""

    published = EDITIONS["kinetics600"]


class Kinetics700(Kinetics400):
    """Kinetics-700, edition of 2019 or 2020.

    Args:
        root: Folder with the videos, in class folders or flat.
        year: Edition, 2019 or 2020. Default: 2020.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(self, root: str, year: Literal[2019, 2020] = 2020, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.published = EDITIONS["kinetics700_2020" if year == 2020 else "kinetics700"]
