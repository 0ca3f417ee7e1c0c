"""Class folders."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.task import Task
from vidcore_datasets.folder import Folder, read_folder


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def classes(root: Path, prefix: str = "", **counts: int) -> Path:
    root.mkdir(exist_ok=True)
    return touch(root, *(f"{prefix}{name}/{index}.mp4" for name, count in counts.items() for index in range(count)))


def ids(root: Path, split: str) -> list[str]:
    return [sample.id for sample in read_folder(root).samples[split]]


def test_class_folders_are_split_by_class_and_stay_so(tmp_path: Path) -> None:
    classes(tmp_path, wave=20, clap=20, nod=3)
    annotations = read_folder(tmp_path)
    assert annotations.task.kind == "single_label" and annotations.task.classes == ("clap", "nod", "wave")
    counts = {split: Counter(sample.target for sample in samples) for split, samples in annotations.samples.items()}
    assert counts == {"train": {0: 14, 1: 1, 2: 14}, "val": {0: 3, 1: 1, 2: 3}, "test": {0: 3, 1: 1, 2: 3}}
    sample = annotations.samples["val"][0]
    assert Path(sample.path) == tmp_path / sample.id and Path(sample.path).is_file()
    assert sample.target == annotations.task.classes.index(sample.id.split("/")[0])
    assert read_folder(tmp_path, seed=3) == annotations

    (tmp_path / "splits.csv").unlink()
    assert read_folder(tmp_path, seed=3) != annotations

    before = read_folder(tmp_path).samples
    classes(tmp_path, wave=22, clap=22)
    after = read_folder(tmp_path).samples
    assert all(set(before[split]) <= set(after[split]) for split in before)
    assert sum(map(len, after.values())) == 47


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_names_that_are_no_text_are_split_too(tmp_path: Path) -> None:
    classes(tmp_path, wave=5, clap=5)
    (tmp_path / "wave" / "\udcff.mp4").touch()
    drawn = read_folder(tmp_path)
    assert sum("wave/\udcff.mp4" in [sample.id for sample in part] for part in drawn.samples.values()) == 1
    assert read_folder(tmp_path) == drawn


def test_split_folders(tmp_path: Path) -> None:
    classes(tmp_path, "train/", a=3, b=2)
    classes(tmp_path, "Validation/", a=1, b=1)
    classes(tmp_path, "test/", b=2)
    annotations = read_folder(tmp_path)
    assert annotations.task.classes == ("a", "b")
    assert [len(annotations.samples[split]) for split in ("train", "val", "test")] == [5, 2, 2]
    assert ids(tmp_path, "test") == ["test/b/0.mp4", "test/b/1.mp4"]
    assert not (tmp_path / "splits.csv").exists()


def test_no_test_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    classes(tmp_path, "train/", a=3, b=2)
    classes(tmp_path, "valid/", a=1, b=1)
    samples = read_folder(tmp_path).samples
    assert samples["test"] == samples["val"] and len(samples["val"]) == 2
    assert "test uses the 2 validation clips" in caplog.text


def test_no_val_folder(tmp_path: Path) -> None:
    classes(tmp_path, "train/", a=20, b=20)
    classes(tmp_path, "test/", a=1, b=1)
    samples = read_folder(tmp_path).samples
    assert {split: len(part) for split, part in samples.items()} == {"train": 34, "val": 6, "test": 2}
    assert Counter(sample.target for sample in samples["val"]) == {0: 3, 1: 3}
    assert (tmp_path / "splits.csv").is_file()


def test_only_a_train_folder(tmp_path: Path) -> None:
    classes(tmp_path, "train/", a=20, b=20)
    samples = read_folder(tmp_path).samples
    assert {split: len(part) for split, part in samples.items()} == {"train": 28, "val": 6, "test": 6}


def test_what_is_listed_and_what_is_ignored(tmp_path: Path) -> None:
    classes(tmp_path, "train/", b=1)
    classes(tmp_path, "val/", a=1, b=1)
    touch(tmp_path, "train/a/X.MP4", "train/a/deep/er/y.WebM", "train/a/notes.txt", "train/a/._X.mp4")
    touch(tmp_path, "train/a/.git/z.mp4", "train/.cache/z.mp4", "train/readme.mp4.txt", "labels.csv")
    assert ids(tmp_path, "train") == ["train/a/X.MP4", "train/a/deep/er/y.WebM", "train/b/0.mp4"]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    classes(tmp_path, bus=3, train=3)
    assert read_folder(tmp_path).task.classes == ("bus", "train")


def test_class_that_is_never_trained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    classes(tmp_path, "train/", a=1, b=1)
    classes(tmp_path, "val/", a=1, c=1)
    assert read_folder(tmp_path).task.classes == ("a", "b", "c")
    assert "no training clip for the classes c" in caplog.text


def test_a_folder_that_the_model_was_not_trained_on_is_evaluated_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(classes(tmp_path, a=20, b=20), "empty/notes.txt")
    samples = read_folder(tmp_path, trained_on=False).samples
    assert [len(samples[split]) for split in ("train", "val", "test")] == [40, 40, 40]
    assert not (tmp_path / "splits.csv").exists() and not caplog.text

    # If the folder has saved splits, they are used in any case.
    (tmp_path / "empty" / "notes.txt").unlink()
    (tmp_path / "empty").rmdir()
    drawn = read_folder(tmp_path).samples
    assert read_folder(tmp_path, trained_on=True).samples == drawn and not caplog.text
    assert read_folder(tmp_path, trained_on=False).samples == drawn
    assert f"{tmp_path / 'splits.csv'} divides" in caplog.text


@pytest.mark.parametrize("trained_on", [True, False])
def test_evaluation_needs_no_training_clips_and_one_class(tmp_path: Path, trained_on: bool) -> None:
    classes(tmp_path, "test/", a=3)
    annotations = read_folder(tmp_path, trained_on=trained_on)
    assert annotations.task.classes == ("a",)
    assert [len(annotations.samples[split]) for split in ("train", "val", "test")] == [0, 0, 3]
    classes(tmp_path, "train/", a=20)
    annotations = read_folder(tmp_path, trained_on=False)
    assert [len(annotations.samples[split]) for split in ("train", "val", "test")] == [20, 0, 3]


def test_classes_of_a_model_are_found_by_name(tmp_path: Path) -> None:
    data = Folder(str(classes(tmp_path, b=3, a=2)), batch_size=2)
    task = Task("single_label", ("z", "b", "y", "a"))
    data.evaluate_as(task, {**data.hparams, "root": str(tmp_path / "elsewhere")})
    data.clip_spec = ClipSpec(frames=2, size=16)
    dataset = data.dataset("test")
    assert dataset.task == task
    assert [(sample.id, sample.target) for sample in dataset.samples] == [
        ("a/0.mp4", 3), ("a/1.mp4", 3), ("b/0.mp4", 1), ("b/1.mp4", 1), ("b/2.mp4", 1)
    ]  # fmt: skip
    assert data.total() == 5

    same = Folder(str(tmp_path), seed=3)
    same.evaluate_as(task, {**data.hparams, "root": f"{tmp_path}/../{tmp_path.name}"})
    assert same.trained_on and same.total() == 5
    assert [len(same.samples(split)) for split in ("train", "val", "test")] == [2, 2, 1]


def test_errors(tmp_path: Path) -> None:
    def message(root: Path) -> str:
        with pytest.raises(UserError) as error:
            read_folder(root)
        assert str(root) in str(error.value)
        return str(error.value)

    assert "does not exist: expected ROOT/CLASS/VIDEO.mp4" in message(tmp_path / "nowhere")
    assert "is not a folder" in message(touch(tmp_path, "file") / "file")
    assert "has no class folders: expected" in message(touch(tmp_path / "flat", "a.mp4"))
    assert "only one class folder, 'a'" in message(classes(tmp_path / "one", a=5))
    assert "without a video (.3gp" in message(touch(classes(tmp_path / "empty", a=3), "b/frame.jpg"))
    assert "no train/" in message(classes(tmp_path / "val_only", "val/", a=3, b=3))
    both = classes(classes(tmp_path / "both", "val/", a=1), "valid/", a=1)
    assert "both val/ and valid/" in message(both)
    assert "too few clips" in message(classes(tmp_path / "few", a=1, b=1))


def test_data_module(tmp_path: Path) -> None:
    data = Folder(str(classes(tmp_path, a=3, b=3)), seed=1, batch_size=2)
    assert data.task == read_folder(tmp_path).task
    assert [len(data.samples(split)) for split in ("train", "val", "test", "predict")] == [2, 2, 2, 0]
    assert Folder(str(tmp_path / "nowhere")), "nothing is read before it is asked for"
