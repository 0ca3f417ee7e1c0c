"""Videos without labels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from vidcore import plugins
from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.video.encode import write_video
from vidcore_datasets.unlabelled import Unlabelled, read_unlabelled


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def ids(root: Path, split: str, **options: float) -> list[str]:
    return [sample.id for sample in read_unlabelled(root, **options)[split]]


def test_what_is_listed_and_what_is_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "a/X.MP4", "a/deep/er/y.WebM", "a/notes.txt", "a/._X.mp4", ".cache/z.mp4", "z.mp4.txt")
    (tmp_path / "a" / "folder.mp4").mkdir()
    touch(tmp_path.parent / f"{tmp_path.name}_elsewhere", "linked.mov")
    (tmp_path / "link").symlink_to(tmp_path.parent / f"{tmp_path.name}_elsewhere")
    samples = read_unlabelled(tmp_path, val_share=0)
    assert samples["val"] == []
    assert [sample.id for sample in samples["train"]] == ["a/X.MP4", "a/deep/er/y.WebM", "b.mp4", "link/linked.mov"]
    assert all(sample.path == str(tmp_path / sample.id) and sample.target == 0 for sample in samples["train"])


def test_the_share_held_out_depends_on_paths_alone(tmp_path: Path) -> None:
    names = [f"{folder}/{index}.mp4" for folder in "abcd" for index in range(50)]
    first, second = touch(tmp_path / "one", *names), touch(tmp_path / "two", *reversed(names))
    held_out = ids(first, "val")
    assert len(held_out) == 20 and sorted(held_out + ids(first, "train")) == sorted(names)
    assert held_out == ids(first, "val") == ids(second, "val")
    assert {name[0] for name in held_out} == set("abcd"), "all folders are among them"
    assert set(held_out) < set(ids(first, "val", val_share=0.3)) and len(ids(first, "val", val_share=0.3)) == 60
    before = set(held_out)
    touch(first, "e/new.mp4")
    assert len(before ^ set(ids(first, "val"))) <= 2, "a new video moves hardly any other"


@pytest.mark.parametrize(
    ("count", "share", "held_out"), [(1, 0.5, 0), (2, 0.1, 1), (2, 0.9, 1), (9, 0.1, 1), (9, 0, 0)]
)
def test_few_videos(tmp_path: Path, count: int, share: float, held_out: int) -> None:
    touch(tmp_path, *(f"{index}.mp4" for index in range(count)))
    samples = read_unlabelled(tmp_path, share)
    assert (len(samples["train"]), len(samples["val"])) == (count - held_out, held_out)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    touch(tmp_path, "a\udcff.mp4", "b.mp4")
    assert sorted(ids(tmp_path, "train") + ids(tmp_path, "val")) == ["a\udcff.mp4", "b.mp4"]


def test_errors(tmp_path: Path) -> None:
    def message(root: Path, share: float = 0.1) -> str:
        with pytest.raises(UserError) as error:
            read_unlabelled(root, share)
        return str(error.value)

    nowhere = tmp_path / "nowhere"
    assert message(nowhere) == f"{nowhere} does not exist: expected a folder of videos"
    assert "file is not a folder" in message(touch(tmp_path, "file") / "file")
    assert "has no video (.3gp" in message(touch(tmp_path / "empty", "notes.txt"))
    assert "val_share must be at least 0 and below 1, got 1" in message(tmp_path, 1)
    assert "got -0.5" in message(tmp_path, -0.5)


def test_data_module(tmp_path: Path) -> None:
    for index in range(4):
        noise = torch.randint(256, (6, 3, 24, 32), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
        (tmp_path / f"{index % 2}").mkdir(exist_ok=True)
        write_video(tmp_path / f"{index % 2}" / f"{index}.mp4", noise, fps=8)
    assert plugins.load("vidcore.data", "unlabelled") is Unlabelled
    assert Unlabelled(str(tmp_path / "nowhere")), "nothing is read before it is asked for"
    data = Unlabelled(str(tmp_path), batch_size=3, num_workers=0)
    assert data.task.kind == "single_label" and data.task.classes == ("video",)
    assert [len(data.samples(split)) for split in ("train", "val", "test", "predict")] == [3, 1, 0, 0]
    data.clip_spec = ClipSpec(frames=2, size=16, pairs=True)
    batch = next(iter(data.train_dataloader()))
    assert batch["inputs"]["rgb"].shape == (6, 3, 2, 16, 16) and batch["target"].tolist() == [0] * 6
    assert batch["ids"][::2] == batch["ids"][1::2] and len(set(batch["ids"])) == 3
