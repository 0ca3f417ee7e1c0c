"""Multi-Moments in Time."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake.moments_multi import LISTS, make

from vidcore.errors import UserError
from vidcore_datasets.moments_multi import MomentsMulti, read_moments_multi


@pytest.mark.parametrize("ending", [".txt", ".csv"])
def test_lists(tmp_path: Path, ending: str) -> None:
    make(tmp_path, ending)
    annotations = read_moments_multi(tmp_path)
    assert annotations.task.kind == "multi_label"
    assert annotations.task.classes == ("crafting", "adult+female+singing", "paying")
    assert [s.target for s in annotations.samples["train"]] == [(0, 1), (0,), (2,)]
    assert [s.target for s in annotations.samples["val"]] == [(0, 2), (0, 1)]
    sample = MomentsMulti(str(tmp_path)).samples("train")[0]
    assert sample.id == LISTS["trainingSet"][0][0] and Path(sample.path) == tmp_path / "videos" / sample.id


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("trainingSet.txt", "a/b.mp4,crafting", "line 4: expected PATH,NUMBER,NUMBER"),
        ("trainingSet.txt", "a/b.mp4,1,3", "line 4: classes must be from 0 to 2, got"),
        ("trainingSet.txt", "a/b.mp4", "line 4: classes must be from 0 to 2, got"),
        ("moments_categories.txt", "jumping,7", "not numbered from 0 to 3"),
        ("moments_categories.txt", "jumping", "expected lines of CLASS,NUMBER"),
    ],
)
def test_errors(tmp_path: Path, name: str, line: str, said: str) -> None:
    make(tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write(line)
    with pytest.raises(UserError, match=f"{name}.*{said}"):
        read_moments_multi(tmp_path)
