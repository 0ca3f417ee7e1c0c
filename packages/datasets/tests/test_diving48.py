"""Diving48."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake import diving48 as fake

from vidcore.errors import UserError
from vidcore_datasets.diving48 import read_diving48


def test_versions(tmp_path: Path) -> None:
    fake.make(tmp_path)
    second = read_diving48(tmp_path)
    assert second.task.classes[0] == "Back 15som 05Twis FREE"
    assert [sample.target for sample in second.samples["train"]] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {sample.target for sample in read_diving48(tmp_path, 1).samples["train"]} == {0}
    sample = second.samples["test"][1]
    assert sample.id == "_8Vy3dlHg2e_00100" and Path(sample.path) == tmp_path / "rgb/_8Vy3dlHg2e_00100.mp4"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Diving48_vocab.json", "[1, 2]", "expected one list of words"),
        ("Diving48_V2_test.json", "{}}", "not valid JSON"),
        ("Diving48_V2_test.json", '[{"vid_name": "a"}]', "expected a list of"),
        ("Diving48_V2_test.json", '[{"vid_name": "a", "label": 4}]', "the label of a must be from 0 to 3"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    fake.make(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=rf"{name}:? .*{message}|{name}: {message}"):
        read_diving48(tmp_path)
