"""ImageNet VID."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fake.imagenet_vid import CAR, STILL, VIDEOS, make, xml

from vidcore import ClipSpec
from vidcore.errors import UserError
from vidcore.reading.dataset import VideoDataset
from vidcore_datasets.imagenet_vid import SYNSETS, ImageNetVID, read_imagenet_vid


def test_classes() -> None:
    assert len(SYNSETS) == 30 and list(SYNSETS.values()) == sorted(SYNSETS.values())


def test_whole_videos(tmp_path: Path) -> None:
    make(tmp_path)
    annotations = read_imagenet_vid(tmp_path)
    assert annotations.task.kind == "detection" and annotations.task.classes[6] == "car"
    assert [s.id for s in annotations.samples["val"]] == ["val/ILSVRC2015_val_00000000", "val/ILSVRC2015_val_00000001"]
    target = annotations.samples["val"][0].target
    assert target["frames"].tolist() == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert target["labels"].tolist() == [6, 6, 6, 8, 6, 8, 6, 8, 6, 8]
    assert target["tracks"].tolist() == [0, 0, 0, 1, 0, 1, 0, 1, 0, 1]
    assert target["boxes"][0].tolist() == [0, 2, 10, 12], "the last pixel belongs to the box"
    assert target["motion"][3] == 1, "the dog stands still"
    assert np.isclose(target["motion"][0], np.mean([(10 - k) / (10 + k) for k in range(1, 6)]))


def test_training_is_around_listed_frames(tmp_path: Path) -> None:
    make(tmp_path)
    samples = read_imagenet_vid(tmp_path, reach=2).samples["train"]
    assert [s.id.rpartition("_")[2] for s in samples] == [
        "00000000#3",
        "00000000#16",
        "01151000#0",
        "01151000#1",
        "01151000#2",
        "01151000#3",
        "7",
    ]
    first = samples[0]
    assert (first.start, first.end, first.fps) == (1 / 30, 6 / 30, 30)
    assert first.target["frames"].tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5]
    whole = read_imagenet_vid(tmp_path, reach=100).samples["train"][0].target
    middle = np.isin(whole["frames"], [1, 2, 3, 4, 5])
    assert np.array_equal(first.target["motion"], whole["motion"][middle]), "speed counts frames outside the stretch"
    still = samples[-1]
    assert still.path == str(tmp_path / f"Data/DET/{STILL}.JPEG")
    assert still.target["boxes"].tolist() == [[0, 0, 16, 12], [16, 12, 32, 24]], "a person is none of the 30"
    assert still.target["frames"].tolist() == [0, 0] and np.isnan(still.target["motion"]).all()
    assert len(read_imagenet_vid(tmp_path, det=False).samples["train"]) == 6


def test_clips(tmp_path: Path) -> None:
    """Tracks and motion stay with their box through sampling and cropping."""
    make(tmp_path)
    data = ImageNetVID(str(tmp_path), reach=2)
    spec = ClipSpec(frames=3, size=24)
    clips = VideoDataset(data.samples("train"), data.task, spec)
    item = clips[0]  # frames 2, 3, 4 of 32 × 24 pixels, cropped to the middle 24: 4 off the left
    target = item["target"]
    assert item["inputs"]["rgb"].shape == (1, 3, 3, 24, 24)
    assert target["frames"].tolist() == [0, 0, 1, 1, 2, 2] and target["tracks"].tolist() == [0, 1, 0, 1, 0, 1]
    assert target["boxes"].tolist()[:2] == [[0, 2, 8, 12], [0, 12, 10, 22]]
    assert target["motion"][1] == 1 and target["motion"].dtype == torch.float32
    still = clips[6]["target"]
    assert still["frames"].tolist() == [0, 0, 1, 1, 2, 2], "a still is three equal frames"
    assert torch.equal(still["boxes"][:2], still["boxes"][4:])
    narrow = VideoDataset(data.samples("train"), data.task, ClipSpec(frames=1, size=6, short_side=24))[0]["target"]
    assert narrow["tracks"].tolist() == [1] and narrow["motion"].tolist() == [1], "of the car nothing is left"


def test_xml_alone_is_no_video(tmp_path: Path) -> None:
    make(tmp_path)
    video = tmp_path / "Data/VID" / next(iter(VIDEOS))
    video.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"imagenet_vid, train: 2 of 7 videos are missing"):
        ImageNetVID(str(tmp_path)).samples("train")
    assert len(ImageNetVID(str(tmp_path), missing="skip").samples("train")) == 5


def test_errors(tmp_path: Path) -> None:
    make(tmp_path)
    file = tmp_path / "Annotations/VID/val/ILSVRC2015_val_00000000/000003.xml"
    for content in ("<annotation>", xml([(CAR, 0, "", 1, 2, 3)]), xml([(CAR, "first", 0, 1, 2, 3)])):
        file.write_text(content)
        with pytest.raises(UserError, match=f"{file}: cannot read the annotation of a frame"):
            read_imagenet_vid(tmp_path)
    (tmp_path / "ImageSets/VID_train_15frames.txt").write_text("train/a 1")
    with pytest.raises(UserError, match="line 1: expected VIDEO 1 FRAME LENGTH"):
        read_imagenet_vid(tmp_path)
    (tmp_path / "ImageSets/VID_train_15frames.txt").unlink()
    with pytest.raises(UserError, match=r"imagenet_vid: no VID_train_15frames.txt in .*ImageSets; download it from"):
        read_imagenet_vid(tmp_path)
