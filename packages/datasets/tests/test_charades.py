"""Charades."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake.charades import SPLITS, make

from vidcore.errors import UserError
from vidcore_datasets.charades import Charades, read_charades


def test_actions_of_whole_videos(tmp_path: Path) -> None:
    make(tmp_path)
    annotations = read_charades(tmp_path)
    assert annotations.task.kind == "multi_label"
    assert annotations.task.classes == (
        "Holding some clothes",
        "Putting clothes somewhere",
        "Taking/consuming some medicine",
    )
    for split, videos in SPLITS.items():
        expected = [(video, labels) for video, _, labels in videos if labels]
        assert [(s.id, s.target) for s in annotations.samples[split]] == expected, (
            "those without an action are left out"
        )


@pytest.mark.parametrize("frames", [False, True])
def test_videos_of_each_download(tmp_path: Path, frames: bool) -> None:
    make(tmp_path, frames)
    samples = Charades(str(tmp_path)).samples("val")
    expected = "Charades_v1_rgb/YSKX3" if frames else "Charades_v1_480/YSKX3.mp4"
    assert Path(samples[0].path) == tmp_path / expected and samples[0].fps == 24


def test_errors(tmp_path: Path) -> None:
    make(tmp_path)
    file = tmp_path / "Charades_v1_test.csv"
    file.write_text(file.read_text().replace("c002", "c157"))
    with pytest.raises(UserError, match=f"{file}, line 4: c157 is not among the 3 classes"):
        read_charades(tmp_path)
    file.write_text("id;actions\n")
    with pytest.raises(UserError, match=f"{file}, line 1: expected the columns id and actions, got id;actions"):
        read_charades(tmp_path)
