from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from vidcore import Sample, Task
from vidcore_datasets import cached_index
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.cached_index import cached_annotations
from vidcore_datasets.csv import Csv
from vidcore_datasets.folder import Folder
from vidcore_datasets.inputs import depends_on
from vidcore_datasets.published import Published, PublishedData, official_file

LABELS = "path,label,split\na.mp4,run,train\nb.mp4,sit,train\nc.mp4,run,val\nd.mp4,sit,test\n"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    for name in "abcd":
        (tmp_path / f"{name}.mp4").touch()
    file = tmp_path / "labels.csv"
    file.write_text(LABELS)
    return file


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the CSV files read, one entry per read."""
    counted: list[str] = []
    read = Csv.read
    monkeypatch.setattr(Csv, "read", lambda data: counted.append(data.path) or read(data))
    return counted


def ids(data: Csv | Folder, split: str = "train") -> list[str]:
    return [sample.id for sample in data.samples(split)]


def test_a_second_start_reads_no_annotations(labels: Path, reads: list[str], cache: Path) -> None:
    first, second = Csv(str(labels)), Csv(str(labels), batch_size=2, num_workers=5)
    for data in (first, second):
        assert data.task == Task("single_label", ("run", "sit"))
        assert {split: ids(data, split) for split in ("train", "val", "test")} == {
            "train": ["a.mp4", "b.mp4"],
            "val": ["c.mp4"],
            "test": ["d.mp4"],
        }
        assert data.samples("train") == [
            Sample(str(labels.parent / "a.mp4"), 0, id="a.mp4"),
            Sample(str(labels.parent / "b.mp4"), 1, id="b.mp4"),
        ]
    assert len(reads) == 1
    assert [file.suffix for file in (cache / "vidcore" / "index").iterdir()] == [".safetensors"]


def test_what_changed_is_read_again(labels: Path, reads: list[str]) -> None:
    assert ids(Csv(str(labels))) == ["a.mp4", "b.mp4"]
    before = labels.stat()
    labels.write_text(LABELS.replace("c.mp4,run,val", "c.mp4,run,train").replace("d.mp4,sit,test", "d.mp4,sit,val"))
    assert ids(Csv(str(labels))) == ["a.mp4", "b.mp4", "c.mp4"]
    labels.write_text(LABELS.replace("a.mp4,run", "a.mp4,sit").replace("b.mp4,sit", "b.mp4,run"))  # of the same size
    os.utime(labels, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert [sample.target for sample in Csv(str(labels)).samples("train")] == [1, 0]
    assert len(reads) == 3


def test_options_working_folder_and_version_are_part_of_it(
    labels: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Csv(str(labels)).task
    assert Csv(str(labels), multi_label=True).task.kind == "multi_label"
    monkeypatch.chdir(labels.parent)
    assert Csv("labels.csv").samples("train")[0].path == "a.mp4"
    folder = labels.parent / "elsewhere"
    folder.mkdir()
    (folder / "labels.csv").write_text(LABELS.replace("a.mp4", "e.mp4"))
    monkeypatch.chdir(folder)
    assert Csv("labels.csv").annotations.samples["train"][0].path == "e.mp4"
    assert len(reads) == 4
    monkeypatch.setattr(cached_index, "version", lambda name: "9.9")
    assert Csv("labels.csv").task
    assert len(reads) == 5


def test_drawn_splits_may_be_edited(tmp_path: Path, reads: list[str]) -> None:
    names = [f"{number}.mp4" for number in range(12)]
    for name in names:
        (tmp_path / name).touch()
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\n" + "".join(f"{name},{'ab'[number % 2]}\n" for number, name in enumerate(names)))
    drawn = {split: ids(Csv(str(labels)), split) for split in ("train", "val")}
    assert {split: ids(Csv(str(labels)), split) for split in ("train", "val")} == drawn
    assert len(reads) == 1, "that the splits were written while it was read is no change"
    kept = tmp_path / "labels.splits.csv"
    kept.write_text(
        kept.read_text()
        .replace(",val,", ",train,", 1)
        .replace(f"{drawn['train'][0]},train", f"{drawn['train'][0]},val")
    )
    assert ids(Csv(str(labels)), "val") != drawn["val"]
    kept.unlink()
    assert ids(Csv(str(labels)), "val") == drawn["val"]
    assert len(reads) == 3


def test_videos_that_vanish_or_appear_are_seen(labels: Path, reads: list[str]) -> None:
    Csv(str(labels)).samples("train")
    (labels.parent / "a.mp4").unlink()
    with pytest.raises(Exception, match=r"lists files that do not exist: .*a\.mp4"):
        Csv(str(labels)).samples("train")
    (labels.parent / "a.mp4").touch()
    Csv(str(labels)).samples("train")
    assert len(reads) == 1


def test_a_folder_is_listed_at_every_start(tmp_path: Path, cache: Path) -> None:
    for name in ("train/run/a.mp4", "train/sit/b.mp4", "val/run/c.mp4", "test/sit/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert ids(Folder(str(tmp_path))) == ["train/run/a.mp4", "train/sit/b.mp4"]
    (tmp_path / "train/run/e.mp4").touch()
    (tmp_path / "train/run/a.mp4").unlink()
    assert ids(Folder(str(tmp_path))) == ["train/run/e.mp4", "train/sit/b.mp4"]
    assert not list(cache.iterdir())


def test_warnings_are_said_at_every_start(labels: Path, reads: list[str], caplog: pytest.LogCaptureFixture) -> None:
    labels.write_text(LABELS.replace("d.mp4,sit,test", "d.mp4,sit,val"))
    for _ in range(2):
        caplog.clear()
        assert Csv(str(labels)).task
        (record,) = caplog.records
        assert "has no test split: test uses the 2 validation clips" in record.getMessage()
        assert (record.name, record.levelno) == ("vidcore_datasets.annotations", logging.WARNING)
    assert len(reads) == 1


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:200] + b"x" + data[201:], lambda data: b""]
)
def test_a_damaged_index_is_replaced(labels, reads, cache, caplog, damage) -> None:
    assert Csv(str(labels)).task
    (file,) = (cache / "vidcore" / "index").iterdir()
    data = file.read_bytes()
    file.write_bytes(damage(data))
    assert ids(Csv(str(labels))) == ["a.mp4", "b.mp4"]
    assert "a damaged index is replaced" in caplog.text and str(file) in caplog.text
    caplog.clear()
    assert Csv(str(labels)).task
    assert len(reads) == 2 and not caplog.records


def test_without_a_cache_it_works_and_says_so_once(labels, reads, cache, caplog) -> None:
    (cache / "vidcore").write_text("a file where a folder should be: even root cannot write there")
    for _ in range(3):
        assert ids(Csv(str(labels))) == ["a.mp4", "b.mp4"]
    assert len(reads) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"no cache in {cache / 'vidcore' / 'index'} (Not a directory): annotations are read at every start"
    ]


def test_a_disk_that_is_full(labels, reads, cache, caplog, monkeypatch) -> None:
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cached_index, "save_index", full)
    assert ids(Csv(str(labels))) == ["a.mp4", "b.mp4"]
    assert "No space left on device" in caplog.text


def test_what_changes_while_it_is_read_is_not_kept(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "list"
    file.write_text("a")

    def read() -> Annotations:
        depends_on(file)
        name = file.read_text()
        if name == "a":
            file.write_text("b" * 9)
        return Annotations(Task.numbered(2), {"train": [Sample(name, 0)]})

    assert cached_annotations(read, "some", {}).samples["train"][0].path == "a"
    assert cached_annotations(read, "some", {}).samples["train"][0].path == "b" * 9
    assert cached_annotations(lambda: pytest.fail("kept"), "some", {}).samples["train"][0].path == "b" * 9


def test_boxes_are_kept(tmp_path: Path) -> None:
    file = depends_on(tmp_path / "boxes")
    target = {"boxes": np.ones((2, 4), np.float32), "labels": np.array([0, 1]), "frames": np.array([0, 5])}

    def read() -> Annotations:
        depends_on(file)
        return Annotations(Task("detection", ("a", "b")), {"train": [Sample("a", target)], "val": ()})

    cached_annotations(read, "some", {})
    found = cached_annotations(lambda: pytest.fail("not kept"), "some", {})
    assert found.task == Task("detection", ("a", "b"))
    for key, array in target.items():
        np.testing.assert_array_equal(found.samples["train"][0].target[key], array, strict=True)
    assert len(found.samples["val"]) == 0


class Pets(PublishedData):
    published = Published("pets", "https://example.org/pets", classes=2, sizes={})
    reads = 0

    def read(self) -> Annotations:
        type(self).reads += 1
        names = official_file(self.root, ("train.csv", "list.csv"), self.published).read_text().split()
        samples = [
            Sample(str(Path(self.root, "train", name)), number % 2, id=name) for number, name in enumerate(names)
        ]
        return Annotations(Task("single_label", ("cat", "dog")), {"train": samples, "val": samples[:1]})


def test_a_published_data_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "list.csv").write_text("a.mp4 b.mp4 c.mp4")
    for name in ("train/a.mp4", "train/b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "c.webm").touch()
    for _ in range(2):
        caplog.clear()
        data = Pets(str(tmp_path))
        assert [sample.path for sample in data.samples("train")] == [
            str(tmp_path / name) for name in ("train/a.mp4", "train/b.mp4", "c.webm")
        ]
        assert ids(data) == ["a.mp4", "b.mp4", "c.mp4"]
        assert "pets has no labelled test split" in caplog.text
    (tmp_path / "train/b.mp4").unlink()
    for _ in range(2):  # the list of missing videos, written to the same folder, does not count as a change
        assert ids(Pets(str(tmp_path), missing="skip")) == ["a.mp4", "c.mp4"]
    assert Pets.reads == 2
    (tmp_path / "train.csv").write_text("a.mp4")  # this name is preferred to the one found before
    assert ids(Pets(str(tmp_path), missing="skip")) == ["a.mp4"]
