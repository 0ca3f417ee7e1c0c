"""Something-Something V2: actions with objects, such as "Pushing [something] from left to right", a few seconds each.

Source:
    https://developer.qualcomm.com/software/ai-datasets/something-something, formerly TwentyBN. VP9 videos in
    ``20bn-something-something-v2/ID.webm``, at 12 fps; ``labels/labels.json``, ``train.json``, ``validation.json``,
    ``test-answers.csv``, formerly ``something-something-v2-labels.json`` and so on.

Licence:
    Custom: research only, no redistribution.

Splits:
    168,913 train, 24,777 val, 27,157 test; 174 classes. Figures as cited. The reader follows public code for these
    files; it has not been tested on the official files.

Test:
    ``test`` uses ``val``, as in the literature; ``official_test`` uses ``test-answers.csv``.

Citation:
    Goyal et al., The "something something" video database for learning and evaluating visual common sense, ICCV 2017.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore.video.transforms import Augment
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.published import Published, PublishedData, official_file
from vidcore_datasets.text import read_json
from vidcore_datasets.twentybn import FPS, LIST_FOLDERS, read_ids, with_test

PUBLISHED = Published(
    "ssv2",
    "https://developer.qualcomm.com/software/ai-datasets/something-something",
    classes=174,
    sizes={"train": 168_913, "val": 24_777},
)


def read_ssv2(
    root: str | Path, annotation_folder: str | Path | None = None, official_test: bool = False
) -> Annotations:
    """Read the JSON files of Something-Something V2.

    The class of a video is its template without brackets: ``Pushing [something] from left to right``.

    Args:
        root: Folder that contains ``20bn-something-something-v2``.
        annotation_folder: Folder with the JSON files. Default: ``root``, ``root/annotations`` or ``root/labels``.
        official_test: If True, ``test`` is read from ``test-answers.csv``. If False, it equals ``val``, as the
            literature reports. Default: False.

    Returns:
        A single-label task and its samples. A sample's id is the video's number.

    Raises:
        UserError: A file is missing or invalid.
    """

    def file(name: str) -> Path:
        names = (name, f"something-something-v2-{name}")
        return official_file(root, names, PUBLISHED, annotation_folder, LIST_FOLDERS)

    labels = file("labels.json")
    try:
        index = {name: int(number) for name, number in read_json(labels).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f'{labels}: expected {{"CLASS": "NUMBER", …}} ({error})') from error
    classes = tuple(sorted(index, key=lambda name: index[name]))
    if sorted(index.values()) != list(range(len(classes))):
        raise UserError(f"{labels}: the classes are not numbered from 0 to {len(classes) - 1}")

    def samples(ids: list[tuple[str, int]]) -> list[Sample]:
        folder = Path(root, "20bn-something-something-v2")
        return [Sample(f"{folder}/{video}.webm", label, id=video, fps=FPS) for video, label in ids]

    train = samples(_read_split(file("train.json"), index))
    val = samples(_read_split(file("validation.json"), index))
    test = samples(read_ids(file("test-answers.csv"), index)) if official_test else val
    return Annotations(Task("single_label", classes), {"train": train, "val": val, "test": test})


def _read_split(path: Path, index: dict[str, int]) -> list[tuple[str, int]]:
    ids = []
    for number, entry in enumerate(read_json(path), 1):
        try:
            video, template = str(entry["id"]), entry["template"]
        except (KeyError, TypeError) as error:
            raise UserError(f'{path}, entry {number}: expected {{"id": …, "template": …}}') from error
        name = template.replace("[", "").replace("]", "")
        if name not in index:
            raise UserError(f"{path}, entry {number}: {name!r} is not among the {len(index)} classes")
        ids.append((video, index[name]))
    return ids


class SSv2(PublishedData):
    """Something-Something V2, see [`vidcore_datasets.ssv2`][].

    Args:
        root: Folder that contains ``20bn-something-something-v2``.
        official_test: Test on ``test-answers.csv`` instead of ``val``. Default: False, as in the literature.
        augment: Random transforms of training clips. Default: no horizontal flip, since left and right are classes.
        **kwargs: Passed to [`PublishedData`][vidcore_datasets.published.PublishedData].
    """

    def __init__(
        self, root: str, official_test: bool = False, augment: Augment = Augment(hflip=0.0), **kwargs: Any
    ) -> None:
        super().__init__(root, augment=augment, **kwargs)
        self.official_test = official_test
        self.published = with_test(PUBLISHED, 27_157) if official_test else PUBLISHED

    def read(self) -> Annotations:
        """Read the annotations."""
        return read_ssv2(self.root, self.annotation_folder, self.official_test)
