"""Something-Something V2: what is done to some object, such as "Pushing [something] from left to right", in seconds.

Where from:
    https://developer.qualcomm.com/software/ai-datasets/something-something, before from TwentyBN. VP9 in
    ``20bn-something-something-v2/ID.webm``, 12 frames a second; ``labels/labels.json``, ``train.json``,
    ``validation.json``, ``test-answers.csv``, before ``something-something-v2-labels.json`` and so on.

Licence:
    Of its own: research only, and nothing may be passed on.

Splits:
    168,913 train, 24,777 val, 27,157 test; 174 classes. As cited. The reader follows
    how public code reads the files; it has not been tried on the owner's.

Test:
    ``test`` uses ``val``, as in the literature; ``official_test`` takes what ``test-answers.csv`` lists.

Citation:
    Goyal et al., The "something something" video database for learning and evaluating visual common sense, ICCV 2017.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidcore.dataset import Sample
from vidcore.errors import UserError
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
    """Reads the JSON files of Something-Something V2.

    A video's class is its template without brackets: ``Pushing [something] from left to right``.

    Args:
        root: The folder with ``20bn-something-something-v2``.
        annotation_folder: Where the JSON files are; ``root`` or a folder ``annotations`` or ``labels`` in it if not
            given.
        official_test: Whether ``test`` is what ``test-answers.csv`` lists, and not validation again, which is what the
            literature reports.

    Returns:
        Single label; a sample's id is the video's number.

    Raises:
        UserError: A file is missing or cannot be understood.
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
    """Something-Something V2, see :mod:`vidcore_datasets.ssv2`.

    Args:
        root: The folder with ``20bn-something-something-v2``.
        official_test: Test on what ``test-answers.csv`` lists, and not on validation as the literature does.
        augment: The random transforms of training; the default does not mirror, since left and right are classes.
        **kwargs: See :class:`~vidcore_datasets.published.PublishedData`.
    """

    def __init__(
        self, root: str, official_test: bool = False, augment: Augment = Augment(hflip=0.0), **kwargs: Any
    ) -> None:
        super().__init__(root, augment=augment, **kwargs)
        self.official_test = official_test
        self.published = with_test(PUBLISHED, 27_157) if official_test else PUBLISHED

    def read(self) -> Annotations:
        """What the JSON files name."""
        return read_ssv2(self.root, self.annotation_folder, self.official_test)
