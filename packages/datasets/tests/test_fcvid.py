"""FCVID."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake.fcvid import VIDEOS, make

from vidcore.errors import UserError
from vidcore_datasets.fcvid import FCVID, read_fcvid


def test_matrix_of_labels(tmp_path: Path) -> None:
    make(tmp_path)
    annotations = read_fcvid(tmp_path)
    assert annotations.task.kind == "multi_label" and annotations.task.classes == ("0", "1", "2")
    assert [(s.id, s.target) for s in annotations.samples["train"]] == [
        ("accordion/--4Gvgiu5JA", (0,)),
        ("panda/--5vhrWjd2E", (1, 2)),
    ]
    assert [(s.id, s.target) for s in annotations.samples["test"]] == [("panda/0a_b.c", (1,)), ("beach/zZ9", (2,))]
    assert [s.path for s in FCVID(str(tmp_path)).samples("val")] == [str(tmp_path / path) for path, *_ in VIDEOS[2:]]


def test_class_names(tmp_path: Path) -> None:
    make(tmp_path)
    names = tmp_path / "names.txt"
    names.write_text("accordion performance\npanda\nbeach\n")
    assert FCVID(str(tmp_path), class_names=str(names)).task.classes == ("accordion performance", "panda", "beach")
    names.write_text("panda\n")
    with pytest.raises(UserError, match=r"names 1 classes, .* has 3"):
        read_fcvid(tmp_path, class_names=names)


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("Label", ["1 0 0"], "lists 4 videos, .* has 1 rows"),
        ("Label", ["1 0 0"] * 3 + ["1 0"], "line 4: expected 3 values of 0 or 1"),
        ("Label", ["1 0 0"] * 3 + ["1 0 2"], "line 4: expected 3 values of 0 or 1"),
        (
            "VideoName_TrainTestSplit",
            ["a.mp4 train"] * 3 + ["b.mp4"],
            "line 4: expected a path and train or test, got 'b.mp4'",
        ),
    ],
)
def test_errors(tmp_path: Path, name: str, lines: list[str], said: str) -> None:
    make(tmp_path)
    (tmp_path / f"materials/FCVID_{name}.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match=said):
        read_fcvid(tmp_path)
