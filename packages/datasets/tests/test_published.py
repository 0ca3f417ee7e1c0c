"""Common behaviour of published data sets: comparison with published figures, missing videos."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.task import Task
from vidcore_datasets import (
    activitynet,
    charades,
    diving48,
    fcvid,
    hmdb51,
    imagenet_vid,
    jester,
    kinetics,
    mini_kinetics,
    mini_sports1m,
    moments,
    ssv1,
    ssv2,
    ucf101,
)
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.find_videos import find_videos
from vidcore_datasets.published import Published, PublishedData, official_file, with_all_splits

PETS = Published("pets", "https://example.org/pets", classes=2, sizes={"train": 3, "val": 2})


class Pets(PublishedData):
    published = PETS

    def read(self) -> Annotations:
        names = {"train": ("cat/a.mp4", "cat/b.mp4", "dog/c.mp4"), "val": ("cat/d.mp4", "dog/e.mp4")}
        samples = {
            split: [Sample(str(Path(self.root, split, name)), int(name[:3] == "dog"), id=name[4]) for name in part]
            for split, part in names.items()
        }
        return Annotations(Task("single_label", ("cat", "dog")), samples)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


ALL = ("train/cat/a.mp4", "train/cat/b.mp4", "train/dog/c.mp4", "val/cat/d.mp4", "val/dog/e.mp4")


def test_complete(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *ALL)
    data = Pets(str(tmp_path))
    assert [s.path for s in data.samples("train")] == [str(tmp_path / name) for name in ALL[:3]]
    assert data.samples("predict") == ()
    assert data.samples("test") == data.samples("val")
    assert [record.message for record in caplog.records] == [
        "pets has no labelled test split: test uses the 2 val samples"
    ]


@pytest.mark.parametrize(
    "layout",
    [
        ("a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"),
        ("cat/a.MKV", "part_0/b.webm", "part_1/c.avi", "val/d.mp4", "val/e.mp4"),
        ("a/00001.jpg", "b/00001.jpg", "x/c/00001.jpg", "d/1.jpg", "e/1.jpg"),
    ],
    ids=["flat", "re-encoded", "frames"],
)
def test_other_layouts(tmp_path: Path, layout: tuple[str, ...]) -> None:
    touch(tmp_path, *layout, "a.txt", "a.json", ".hidden/a.mp4")
    data = Pets(str(tmp_path))
    expected = [str(Path(name).parent) if name.endswith("jpg") else name for name in layout]
    samples = [*data.samples("train"), *data.samples("val")]
    assert [s.path for s in samples] == [str(tmp_path / name) for name in expected]
    assert [s.id for s in samples] == list("abcde"), "what a video is called in results does not depend on the layout"


def test_of_several_the_nearest(tmp_path: Path) -> None:
    touch(tmp_path, "flow/cat/a.avi", "small/train/cat/a.avi", "train/dog/a.avi", "b.avi", "x/b.avi")
    wanted = [str(tmp_path / "train/cat/a.mp4"), str(tmp_path / "train/cat/b.mp4"), str(tmp_path / "train/cat/c.mp4")]
    assert find_videos(wanted, tmp_path) == {
        wanted[0]: str(tmp_path / "small/train/cat/a.avi"),
        wanted[1]: str(tmp_path / "b.avi"),
    }
    touch(tmp_path, "train/cat/a.mp4")
    assert find_videos(wanted, tmp_path)[wanted[0]] == wanted[0]


def test_one_name_in_several_folders_is_not_mixed_up(tmp_path: Path) -> None:
    touch(tmp_path, "train/031/00313.mp4")
    train, test = str(tmp_path / "train/00313.mp4"), str(tmp_path / "test/00313.mp4")
    assert find_videos([train, test], tmp_path) == {train: str(tmp_path / "train/031/00313.mp4")}


def test_missing_is_an_error_or_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *ALL[1:])
    message = (
        r"pets, train: 1 of 3 videos are missing, such as .*cat/a.mp4; all are listed in .* the other 2, pass .*skip"
    )
    with pytest.raises(UserError, match=message):
        Pets(str(tmp_path)).samples("train")
    assert len(Pets(str(tmp_path)).samples("val")) == 2, "what a run does not need may be missing"
    with (tmp_path / "missing_pets_train.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["id", "path"], ["a", str(tmp_path / "train/cat/a.mp4")]]
    skipping = Pets(str(tmp_path), missing="skip")
    assert [s.id for s in skipping.samples("train")] == ["b", "c"]
    assert "1 of 3 videos are missing" in caplog.text and "continuing with the other 2" in caplog.text
    assert len(skipping.annotations.samples["train"]) == 3


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 of 2 videos are missing.*is `root` correct"):
        Pets(str(tmp_path), missing="skip").samples("val")
    with pytest.raises(UserError, match="nowhere does not exist: expected the videos"):
        Pets(str(tmp_path / "nowhere")).samples("val")


def test_every_folder_is_listed_once_and_no_file_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *ALL)
    listed = []
    for function in ("scandir", "listdir"):
        real = getattr(os, function)
        monkeypatch.setattr(os, function, lambda path, real=real: listed.append(Path(path)) or real(path))
    monkeypatch.setattr(Path, "is_file", lambda path: pytest.fail(f"asked for {path}"))
    data = Pets(str(tmp_path))
    for split in ("train", "val", "test"):
        data.samples(split)
    below = sorted(str(path.relative_to(tmp_path)) for path in listed if tmp_path in path.parents)
    assert below == ["train/cat", "train/dog", "val/cat", "val/dog"]


def test_figures_that_differ_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *ALL)
    data = Pets(str(tmp_path))
    data.published = Published("pets", "https://example.org/pets", classes=37, sizes={"train": 3, "val": 4000})
    assert data.task.num_classes == 2
    expected = "pets has 2 classes instead of 37, 2 val samples instead of 4,000, see https://example.org/pets"
    assert expected in caplog.text


def test_splits_that_stand_in_for_each_other(caplog: pytest.LogCaptureFixture) -> None:
    one = [Sample("a", 0)]
    task = Task("single_label", ("cat", "dog"))
    assert with_all_splits(Annotations(task, {"train": one, "test": one}), "x").samples["val"] is one
    assert "x has no validation split: val uses the 1 test samples" in caplog.text
    whole = Annotations(task, {"train": one, "val": one, "test": one})
    assert with_all_splits(whole, "x") == whole and len(caplog.records) == 1


def test_annotation_files(tmp_path: Path) -> None:
    touch(tmp_path, "annotations/b.csv", "elsewhere/a.csv")
    assert official_file(tmp_path, ("a.csv", "b.csv"), PETS) == tmp_path / "annotations/b.csv"
    assert official_file(tmp_path, ("a.csv",), PETS, tmp_path / "elsewhere") == tmp_path / "elsewhere/a.csv"
    with pytest.raises(UserError, match=r"pets: no a.csv in .*annotations; download it from https://example.org/pets"):
        official_file(tmp_path, ("a.csv",), PETS)


def test_the_readme_has_the_same_figures() -> None:
    records = [*kinetics.EDITIONS.values(), *mini_kinetics.EDITIONS.values(), *mini_sports1m.EDITIONS.values()]
    records += [ucf101.FOLDS[1], hmdb51.PUBLISHED, *moments.VERSIONS.values(), diving48.VERSIONS[2]]
    records += [data.PUBLISHED for data in (activitynet, charades, fcvid, imagenet_vid, jester, ssv1, ssv2)]
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for record in records:
        sizes = {split: f"{size:,}" for split, size in record.sizes.items()}
        cells = (record.classes, sizes["train"], sizes.get("val", "test"), sizes.get("test", "val"))
        assert f"| {' | '.join(map(str, cells))} |" in readme, record
