"""Jester."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake.jester import ANSWERS, CLASSES, SPLITS, make, write_lists

from vidcore.errors import UserError
from vidcore_datasets.jester import Jester, read_jester


def ids(samples) -> dict[str, int]:
    return {sample.id: sample.target for sample in samples}


@pytest.mark.parametrize(("folder", "prefix"), [("", "jester-v1-"), ("annotations", "jester-v1-"), ("labels", "")])
def test_lists_of_both_owners(tmp_path: Path, folder: str, prefix: str) -> None:
    write_lists(tmp_path / folder, prefix)
    annotations = read_jester(tmp_path)
    assert annotations.task.classes == CLASSES
    assert ids(annotations.samples["train"]) == SPLITS["train"]
    assert ids(annotations.samples["val"]) == ids(annotations.samples["test"]) == SPLITS["validation"]
    assert Path(annotations.samples["val"][0].path) == tmp_path / "20bn-jester-v1/9223"


def test_official_test(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(UserError, match=r"no jester-v1-test-answers\.csv or test-answers\.csv"):
        read_jester(tmp_path, official_test=True)
    (tmp_path / "test-answers.csv").write_text("\n".join(f"{v};{CLASSES[k]}" for v, k in ANSWERS.items()))
    assert ids(Jester(str(tmp_path), official_test=True).annotations.samples["test"]) == ANSWERS
