"""Moving digits as a data set: annotations and options."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vidcore.errors import UserError
from vidcore.task import Task
from vidcore_datasets.csv import read_csv
from vidcore_datasets.make_digits import make_moving_digits
from vidcore_datasets.moving_digits import MovingDigits, read_moving_digits
from vidcore_datasets.render_digits import MOTIONS, DigitOptions, draw_clip

SMALL = DigitOptions(num_frames=8)
COUNTS = {"train": 10, "val": 3, "test": 2}


def decode(path: Path | str) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_moving_digits(SMALL, COUNTS, tmp_path_factory.mktemp("digits"), progress=False)


def test_annotations(made: Path) -> None:
    annotations = read_moving_digits(made, SMALL.classes)
    assert {split: len(samples) for split, samples in annotations.samples.items()} == COUNTS
    assert [sample.target for sample in annotations.samples["train"]] == list(range(10))
    assert all(Path(s.path) == made / s.id and Path(s.path).is_file() for s in annotations.samples["test"])
    assert read_csv(made / "labels.csv") == annotations, "the csv data set reads it too"


def test_boxes(made: Path) -> None:
    annotations = read_moving_digits(made, SMALL.classes, detection=True)
    assert annotations.task == Task("detection", tuple("0123456789"))
    sample = annotations.samples["train"][7]
    drawn = draw_clip(SMALL, "train", 7)
    assert np.array_equal(sample.target["boxes"], drawn.boxes) and sample.target["boxes"].dtype == np.float32
    assert sample.target["frames"].tolist() == list(range(8)) and set(sample.target["labels"]) == {7}
    # In the decoded file, nothing moves outside the boxes.
    frames = decode(sample.path).astype(int)
    still = np.ones((64, 64), dtype=bool)
    for x1, y1, x2, y2 in sample.target["boxes"].astype(int):
        still[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = False
    change = np.abs(frames - frames[:1]).max(axis=(0, 3))
    assert change[still].mean() < 6 < 40 < change[~still].max()


def test_data_module(tmp_path: Path) -> None:
    data = MovingDigits(num_frames=8, num_train=2, num_val=1, num_test=0, root=str(tmp_path), batch_size=2)
    assert data.task == Task("single_label", tuple("0123456789"))
    assert not list(tmp_path.iterdir()), "the task is known before anything is rendered"
    assert data.augment.hflip == 0
    data.prepare_data()
    assert [len(data.samples(split)) for split in ("train", "val", "test")] == [2, 1, 0]

    assert MovingDigits("motion").task.classes == MOTIONS
    assert MovingDigits(detection=True).task.kind == "detection"
    with pytest.raises(UserError, match="detection=True requires decides=glyph, got motion"):
        MovingDigits("motion", detection=True)
    with pytest.raises(UserError, match="glyph_size must be between 7 and 48"):
        MovingDigits(glyph_size=99)
