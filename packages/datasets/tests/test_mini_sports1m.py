"""Mini-Sports1M."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake import mini_sports1m as fake

from vidcore.errors import UserError
from vidcore_datasets.mini_sports1m import MiniSports1M, read_mini_sports1m


def test_adamml(tmp_path: Path) -> None:
    fake.make(tmp_path)
    annotations = read_mini_sports1m(tmp_path)
    assert annotations.task.classes == fake.CLASSES
    assert [(s.id, s.target) for s in annotations.samples["test"]] == [
        ("-test_0000x", 0),
        ("-test_0100x", 1),
        ("-test_0200x", 2),
        ("-test_0300x", 3),
    ]
    assert Path(annotations.samples["test"][0].path) == tmp_path / "-test_0000x.mp4"


def test_bear(tmp_path: Path) -> None:
    fake.make(tmp_path)
    (tmp_path / "train/001/00010.mp4").rename(tmp_path / "train/001/00020.mp4.part")
    data = MiniSports1M(str(tmp_path), lists="bear", missing="skip")
    found = [(sample.id, Path(sample.path).relative_to(tmp_path).as_posix()) for sample in data.samples("train")]
    assert ("train/00011", "train/001/00011.mp4") in found and len(found) == 7
    assert "train/00010" not in dict(found), "test/001/00010.mp4 is another video"


@pytest.mark.parametrize(
    ("line", "name", "label"),
    [
        ("https://www.youtube.com/watch?v=UDqivjS-lpI 3,1", "UDqivjS-lpI", 3),
        ("http://youtube.com/watch?app=x&v=UDqivjS-lpI 3", "UDqivjS-lpI", 3),
        ("videos/UDqivjS-lpI;1;300;3", "videos/UDqivjS-lpI", 3),
        ("videos/a b 300 3", "videos/a b", 3),
        ("UDqivjS-lpI 3", "UDqivjS-lpI", 3),
    ],
)
def test_lines(tmp_path: Path, line: str, name: str, label: int) -> None:
    fake.make(tmp_path)
    (tmp_path / "test_minisports1m.txt").write_text(f"{line}\n")
    (sample,) = read_mini_sports1m(tmp_path).samples["test"]
    assert (sample.id, sample.target) == (name, label)


@pytest.mark.parametrize("line", ["UDqivjS-lpI", "UDqivjS-lpI 4", "UDqivjS-lpI boomerang"])
def test_unusable_line(tmp_path: Path, line: str) -> None:
    fake.make(tmp_path)
    (tmp_path / "test_minisports1m.txt").write_text(f"{line}\n")
    with pytest.raises(UserError, match=f"test_minisports1m.txt, line 1: expected VIDEO CLASS.*got '{line}'"):
        read_mini_sports1m(tmp_path)
