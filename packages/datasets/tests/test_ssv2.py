"""Something-Something V2."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake.ssv2 import CLASSES, TRAIN, VAL, make

from vidcore.errors import UserError
from vidcore_datasets.ssv2 import SSv2, read_ssv2


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_splits_and_classes(tmp_path: Path, prefix: str) -> None:
    make(tmp_path, prefix)
    annotations = read_ssv2(tmp_path)
    assert annotations.task.kind == "single_label" and annotations.task.classes == CLASSES
    train, val, test = (annotations.samples[split] for split in ("train", "val", "test"))
    assert [(s.id, s.target) for s in train] == [(video, label) for video, _, label in TRAIN]
    assert [(s.id, s.target) for s in val] == [(video, label) for video, _, label in VAL] and test == val
    assert Path(train[0].path) == tmp_path / "20bn-something-something-v2/78687.webm"
    answers = read_ssv2(tmp_path, official_test=True).samples["test"]
    assert [(s.id, s.target) for s in answers] == [("1420", 1)]


def test_what_is_published_is_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path)
    assert len(SSv2(str(tmp_path)).samples("train")) == 3
    assert "ssv2 has 3 classes instead of 174, 3 train samples instead of 168,913" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("labels.json", '["Putting something on a surface"]', 'expected {"CLASS": "NUMBER"'),
        ("labels.json", '{"a": "0", "b": "2"}', "not numbered from 0 to 1"),
        ("train.json", '[{"id": "1", "template": "Eating [something]"}]', "entry 1: 'Eating something' is not among"),
        ("train.json", '[{"id": "1"}]', 'entry 1: expected {"id": …, "template": …}'),
        ("train.json", "[", "not valid JSON"),
    ],
)
def test_errors(tmp_path: Path, name: str, content: str, said: str) -> None:
    make(tmp_path)
    (tmp_path / "labels" / name).write_text(content)
    with pytest.raises(UserError) as error:
        read_ssv2(tmp_path)
    assert str(tmp_path / "labels" / name) in str(error.value) and said in str(error.value)
