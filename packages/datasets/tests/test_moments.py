"""Moments in Time."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake import moments as fake

from vidcore.errors import UserError
from vidcore_datasets.moments import Moments, read_moments


def test_samples(tmp_path: Path) -> None:
    fake.make(tmp_path)
    annotations = read_moments(tmp_path)
    assert annotations.task.classes == fake.CLASSES and annotations.samples.keys() == {"train", "val"}
    sample = annotations.samples["train"][2]
    assert (sample.id, sample.target) == ("adult+female+singing/yt-_0aVztxRTCY_0.mp4", 1)
    assert Path(sample.path) == tmp_path / "training" / sample.id


def test_one_name_in_several_classes(tmp_path: Path) -> None:
    fake.make(tmp_path)
    (tmp_path / "training/clapping/yt-_0aVztxRTCY_0.mp4").unlink()
    with pytest.raises(UserError, match=r"1 of 8 videos are missing, such as .*training/clapping/yt-_0aVztxRTCY_0.mp4"):
        Moments(str(tmp_path)).samples("train")


def test_versions_have_other_figures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake.make(tmp_path)
    for version, figures in ((1, "4 classes instead of 339, 8 train"), (2, "4 classes instead of 305, 8 train")):
        assert Moments(str(tmp_path), version=version).task.num_classes == 4
        assert figures in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("moments_categories.txt", "clapping,first\n", "line 1: expected CLASS,NUMBER, got 'clapping,first'"),
        ("validationSet.csv", "clapping/a.mp4,clapping,3,0\nx/a.mp4,x,3,0\n", "line 2: no class of moments_categories"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    fake.make(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"{name}, {message}"):
        read_moments(tmp_path)
