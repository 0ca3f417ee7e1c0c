"""HMDB51."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake import hmdb51 as fake

from vidcore.errors import UserError
from vidcore_datasets.hmdb51 import read_hmdb51


def test_folds(tmp_path: Path) -> None:
    fake.make(tmp_path)
    for fold, numbers in {1: ("01", "2"), 2: ("02", "1"), 3: ("12", "0")}.items():
        annotations = read_hmdb51(tmp_path, fold)
        assert annotations.task.classes == fake.CLASSES
        for split, expected in zip(("train", "test"), numbers, strict=True):
            found = [(sample.target, sample.id.rpartition("_")[2]) for sample in annotations.samples[split]]
            assert found == [(label, f"{number}.avi") for label in range(4) for number in expected]
    sample = annotations.samples["test"][0]
    assert Path(sample.path) == tmp_path / "brush_hair/#20_Rhythm!_(clip)_brush_hair_u_nm_np1_ba_goo_0.avi"


def test_lists_elsewhere(tmp_path: Path) -> None:
    fake.make(tmp_path / "data")
    (tmp_path / "data/testTrainMulti_7030_splits").rename(tmp_path / "lists")
    assert len(read_hmdb51(tmp_path / "data", 1, tmp_path / "lists").samples["train"]) == 8
    with pytest.raises(UserError, match=r"no \*_test_split1.txt in .*test_train_splits; download it from https"):
        read_hmdb51(tmp_path / "data")


@pytest.mark.parametrize("line", ["clip.avi 3", "clip.avi", "1"])
def test_unusable_line(tmp_path: Path, line: str) -> None:
    fake.make(tmp_path)
    (tmp_path / "testTrainMulti_7030_splits/wave_test_split1.txt").write_text(f"\n{line} \n")
    with pytest.raises(UserError, match=rf"split1.txt, line 2: expected VIDEO.avi and 0, 1 or 2, got '{line}'"):
        read_hmdb51(tmp_path)
