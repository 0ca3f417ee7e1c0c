"""Unlabelled videos to predict on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from fake.clips import write_clip
from lightning.pytorch import Trainer
from small_models import MeanColour

from vidcore import Task
from vidcore.errors import UserError
from vidcore_datasets.video_list import VideoList, read_video_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("a/1.mp4", "a/2.webm", "b/3.mp4", "b/c/4.mp4")):
        write_clip(tmp_path / name, index)
    return tmp_path


def names(folder: Path, path: Path | str) -> list[str]:
    return [Path(sample.path).relative_to(folder).as_posix() for sample in read_video_list(path)]


def test_list(folder: Path) -> None:
    file = folder / "list.txt"
    file.write_text(f"# what the camera saw\nb/3.mp4\n\n{folder / 'a/2.webm'}\nb\na/*.mp4\n")
    assert names(folder, file) == ["b/3.mp4", "a/2.webm", "b/c/4.mp4", "a/1.mp4"]


def test_without_a_list(folder: Path) -> None:
    assert names(folder, folder) == ["a/1.mp4", "a/2.webm", "b/3.mp4", "b/c/4.mp4"]
    assert names(folder, folder / "a/2.webm") == ["a/2.webm"]
    assert names(folder, str(folder / "**/[34].mp4")) == ["b/3.mp4", "b/c/4.mp4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("# nothing\n", "list.txt lists no videos"), ("b/3.mp4\nb/9.mp4\n", "list.txt, line 2: no file .*b/9.mp4")],
)
def test_unusable_list(folder: Path, text: str, message: str) -> None:
    (folder / "list.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_video_list(folder / "list.txt")


def test_predict(folder: Path) -> None:
    data = VideoList(str(folder), num_workers=0, batch_size=3)
    assert data.samples("train") == ()
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    batches = trainer.predict(MeanColour(Task("single_label", ("dark", "light"))), data)
    rows = [row for batch in batches for row in batch]
    assert [row["path"] for row in rows] == [sample.path for sample in read_video_list(folder)]
    assert {best["class"] for row in rows for best in row["top"]} == {"dark", "light"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).touch()
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.mp4\n")
    (sample,) = read_video_list(tmp_path / "list.txt")
    assert os.fsencode(sample.path) == os.fsencode(tmp_path) + b"/caf\xe9.mp4"
