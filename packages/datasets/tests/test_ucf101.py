"""UCF101."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake import ucf101 as fake

from vidcore.errors import UserError
from vidcore_datasets.ucf101 import UCF101, read_ucf101


def test_folds(tmp_path: Path) -> None:
    fake.make(tmp_path)
    folds = [read_ucf101(tmp_path, fold).samples for fold in (1, 2, 3)]
    for number, samples in enumerate(folds, 1):
        assert {sample.id[-11:-8] for sample in samples["test"]} == {f"g{number:02d}"}
        train, test = ({sample.id for sample in samples[split]} for split in ("train", "test"))
        assert len(train) == 8 and len(test) == 4 and not train & test
    sample = folds[0]["test"][2]
    assert sample.id == "HandstandPushups/v_HandstandPushups_g01_c01.avi" and sample.target == 2
    assert Path(sample.path) == tmp_path / "UCF-101" / sample.id


def test_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    fake.make(tmp_path)
    (tmp_path / "ucfTrainTestlist/classInd.txt").write_text("1 YoYo\n2 Archery\n3 ApplyEyeMakeup\n4 HandstandPushups\n")
    annotations = read_ucf101(tmp_path)
    assert annotations.task.classes[0] == "YoYo" and annotations.samples["test"][-1].target == 0


def test_val_uses_test(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake.make(tmp_path)
    data = UCF101(str(tmp_path), fold=2)
    assert data.samples("val") == data.samples("test")
    assert "ucf101 has no validation split: val uses the 4 test samples" in caplog.text
    assert "8 train samples instead of 9,586" in caplog.text


def test_class_that_is_not_numbered(tmp_path: Path) -> None:
    fake.make(tmp_path)
    (tmp_path / "ucfTrainTestlist/testlist01.txt").write_text("Archery/a.avi\nYodelling/a.avi\n")
    with pytest.raises(UserError, match=r"testlist01.txt, line 2: 'Yodelling' is not among the classes"):
        read_ucf101(tmp_path)
