"""Custom detection data in COCO format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake.coco_vid import content, make

from vidcore import ClipSpec, Task
from vidcore.errors import UserError
from vidcore.reading.dataset import VideoDataset
from vidcore_datasets.coco_vid import CocoVid, read_coco_vid


def test_targets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path)
    annotations = read_coco_vid(tmp_path)
    assert annotations.task.kind == "detection" and annotations.task.classes == ("person", "bicycle")
    street, yard = annotations.samples["val"]
    assert (street.id, street.path, street.fps) == ("frames/val_street", str(tmp_path / "frames/val_street"), 25)
    # Images 000002, 000004 and 000006 are frames 1, 3 and 5 of the folder, which starts with 000001.
    assert street.target["frames"].tolist() == [1, 3, 3, 5]
    assert street.target["labels"].tolist() == [0, 0, 1, 1]
    assert street.target["boxes"].tolist()[0] == [2, 3, 12, 15.5]
    assert street.target["tracks"][0] == street.target["tracks"][1] == 7
    assert len(set(street.target["tracks"].tolist())) == 3, "without a track each box is one of its own"
    assert np.array_equal(np.isnan(street.target["motion"]), [False, False, True, True])
    assert yard.path == str(tmp_path / "val_yard.mp4") and yard.target["frames"].tolist() == [3]
    assert "2 boxes of crowds or without area are ignored" in caplog.text


def test_clips(tmp_path: Path) -> None:
    make(tmp_path)
    data = CocoVid(str(tmp_path))
    items = VideoDataset(data.samples("train"), data.task, ClipSpec(frames=6, size=24))
    assert items[0]["target"]["frames"].tolist() == [1, 3, 3, 5]
    assert items[1]["target"]["boxes"].tolist() == [[4, 8, 12, 16]] and items[1]["target"]["frames"].tolist() == [2]


def test_splits_that_are_not_there_are_drawn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, ["train", "val"])
    samples = read_coco_vid(tmp_path).samples
    assert samples["test"] == samples["val"] and "has no test split" in caplog.text


def test_evaluation_needs_no_training_clips_and_finds_classes_by_name(tmp_path: Path) -> None:
    make(tmp_path, ["val"])
    with pytest.raises(UserError, match=r"no train\.json"):
        read_coco_vid(tmp_path)
    data = CocoVid(str(tmp_path))
    data.evaluate_as(Task("detection", ("bicycle", "car", "person")), {})
    data.clip_spec = ClipSpec(frames=6, size=24)
    assert data.dataset("val").samples[0].target["labels"].tolist() == [2, 2, 0, 0]


def test_only_train(tmp_path: Path) -> None:
    make(tmp_path, ["train"])
    with pytest.raises(UserError, match="too few clips to split"):
        read_coco_vid(tmp_path)
    whole = read_coco_vid(tmp_path, trained_on=False).samples
    assert len(whole["train"]) == 2 and whole["test"] == whole["val"] == whole["train"]
    path = tmp_path / "annotations/train.json"
    more = json.loads(path.read_text())
    more["videos"] += [{"id": number, "file_name": f"{number}.mp4"} for number in range(3, 21)]
    path.write_text(json.dumps(more))
    samples = read_coco_vid(tmp_path).samples
    assert {split: len(part) for split, part in samples.items()} == {"train": 14, "val": 3, "test": 3}
    assert read_coco_vid(tmp_path).samples.keys() == samples.keys() and (tmp_path / "annotations/splits.csv").is_file()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("videos"), "KeyError: 'videos'"),
        (lambda c: c["images"][0].update(video_id=9), "refer to each other (KeyError: 9)"),
        (lambda c: c["annotations"][0].update(category_id=9), "refer to each other (KeyError: 9)"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "ValueError: not enough values"),
        (
            lambda c: c["images"][0].update(file_name="frames/val_street/9.jpg"),
            "1 listed images do not exist, such as frames/val_street/9.jpg",
        ),
        (lambda c: c["categories"].append({"id": 9, "name": "car"}), "categories differ from those of the first split"),
    ],
)
def test_errors(tmp_path: Path, change, said: str) -> None:
    make(tmp_path)
    changed = content("val")
    change(changed)
    (tmp_path / "annotations/val.json").write_text(json.dumps(changed))
    with pytest.raises(UserError) as error:
        read_coco_vid(tmp_path)
    assert said in str(error.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no train\.json in "):
        read_coco_vid(tmp_path)
    make(tmp_path)
    (tmp_path / "val_yard.mp4").unlink()
    with pytest.raises(UserError, match=r"files that do not exist: .*val_yard\.mp4"):
        CocoVid(str(tmp_path)).samples("val")
    assert len(CocoVid(str(tmp_path)).samples("train")) == 2
