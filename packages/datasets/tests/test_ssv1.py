"""Something-Something V1."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake.ssv1 import CLASSES, TRAIN, VAL, make

from vidcore.errors import UserError
from vidcore.video import open_video
from vidcore_datasets.ssv1 import SSv1, read_ssv1


def test_lists(tmp_path: Path) -> None:
    make(tmp_path)
    annotations = read_ssv1(tmp_path)
    assert annotations.task.kind == "single_label" and annotations.task.classes == CLASSES
    assert {s.id: s.target for s in annotations.samples["train"]} == TRAIN
    assert {s.id: s.target for s in annotations.samples["val"]} == VAL
    assert annotations.samples["test"] == annotations.samples["val"], "the test labels were never published"
    sample = annotations.samples["train"][0]
    assert Path(sample.path) == tmp_path / "20bn-something-something-v1/100218" and sample.fps == 12


def test_frames_are_a_video_of_12_hz(tmp_path: Path) -> None:
    make(tmp_path)
    sample = SSv1(str(tmp_path)).samples("val")[0]
    with open_video(sample.path, fps=sample.fps) as video:
        assert video.num_frames == 8 and video.times[-1] == pytest.approx(7 / 12)
        assert video.frames([5])[0].float().mean((1, 2)).argmax() == sample.target


def test_left_is_not_right(tmp_path: Path) -> None:
    assert SSv1(str(tmp_path)).augment.hflip == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("7;Holding nothing", "line 5: 'Holding nothing' is not among the 3 classes"),
        ("7,Holding something", "line 5: expected ID;CLASS, got '7,Holding something'"),
    ],
)
def test_broken_lines(tmp_path: Path, line: str, said: str) -> None:
    make(tmp_path)
    file = tmp_path / "something-something-v1-train.csv"
    file.write_text(file.read_text() + line)
    with pytest.raises(UserError, match=f"{file}, {said}"):
        read_ssv1(tmp_path)


def test_no_lists(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ssv1: no something-something-v1-labels.csv .* download it from https"):
        read_ssv1(tmp_path)
