"""Diving48: competitive dives in 48 classes of take-off, somersaults, twists and flight position.

Source:
    http://www.svcl.ucsd.edu/projects/resound/dataset.html: ``Diving48_rgb.tar.gz`` (the folder ``rgb``),
    ``Diving48_vocab.json``, ``Diving48_V2_train.json`` and ``Diving48_V2_test.json``, or without ``V2_``.

Licence:
    None stated; the videos are copyright of their uploaders.

Splits:
    Version 1: 16,067 train, 2,337 test. Version 2, of October 2020, with corrected labels and without badly cut clips:
    15,027 train, 1,970 test. Figures as cited. Results on different versions are not comparable.

Test:
    There is no official validation split: ``val`` uses ``test``.

Citation:
    Li, Li and Vasconcelos, RESOUND: Towards Action Recognition without Representation Bias, ECCV 2018.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from vidcore.classes import checked_classes
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.text import read_json

Version = Literal[1, 2]

_URL = "http://www.svcl.ucsd.edu/projects/resound/dataset.html"

VERSIONS: dict[Version, Published] = {
    1: Published("diving48_v1", _URL, 48, {"train": 16_067, "test": 2_337}),
    2: Published("diving48", _URL, 48, {"train": 15_027, "test": 1_970}),
}
"""Published figures by version."""


def read_diving48(root: str | Path, version: Version = 2, annotation_folder: str | Path | None = None) -> Annotations:
    """Read the official vocabulary (four words per class) and the lists of ``{"vid_name", "label"}``.

    ``start_frame`` and ``end_frame`` cover the whole clip and are ignored.

    Args:
        root: Folder that contains ``rgb``.
        version: Version of the annotations, 1 or 2. Default: 2.
        annotation_folder: Folder with the JSON files. Default: ``root`` or ``root/annotations``.

    Returns:
        A single-label task, its classes the four words (``"Back 15som 05Twis FREE"``) in the order of the vocabulary,
        and its samples: ``train`` and ``test``. A sample's id is its ``vid_name``.

    Raises:
        UserError: A file is missing or invalid.
    """

    def file(name: str) -> Path:
        return official_file(root, (name,), VERSIONS[version], annotation_folder)

    path = file("Diving48_vocab.json")
    try:
        classes = checked_classes(enumerate((" ".join(words) for words in read_json(path)), 1), path, "entry")
    except TypeError as error:
        raise UserError(f"{path}: expected one list of words per class") from error
    samples: dict[str, list[Sample]] = {}
    for split in ("train", "test"):
        path = file(f"Diving48_V2_{split}.json" if version == 2 else f"Diving48_{split}.json")
        try:
            rows = [(str(row["vid_name"]), int(row["label"])) for row in read_json(path)]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f'{path}: expected a list of {{"vid_name": …, "label": …}} ({error!r})') from error
        unknown = next((name for name, label in rows if not 0 <= label < len(classes)), None)
        if unknown is not None:
            raise UserError(
                f"{path}: the label of {unknown} must be from 0 to {len(classes) - 1}, as in the vocabulary"
            )
        samples[split] = [Sample(str(Path(root, "rgb", f"{name}.mp4")), label, id=name) for name, label in rows]
    return Annotations(Task("single_label", classes), samples)


class Diving48(PublishedData):
    """Diving48, see [`vidcore_datasets.diving48`][].

    Args:
        root: Folder that contains ``rgb``.
        version: Version of the annotations, 1 or 2. Default: 2.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(self, root: str, version: Version = 2, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.version = version
        self.published = VERSIONS[version]

    def read(self) -> Annotations:
        """Read the annotations."""
        return read_diving48(self.root, self.version, self.annotation_folder)
