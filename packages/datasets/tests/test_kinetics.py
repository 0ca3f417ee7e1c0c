"""Kinetics, Mini-Kinetics and Kinetics-Sounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake import kinetics as fake

from vidcore.errors import UserError
from vidcore_datasets.kinetics import EDITIONS, Kinetics700, read_kinetics
from vidcore_datasets.kinetics_sounds import CLASSES, read_kinetics_sounds
from vidcore_datasets.mini_kinetics import read_mini_kinetics

TRAIN = """\
label,youtube_id,time_start,time_end,split,is_cc
"testifying",---QUuC4vJs,84,94,train,0
"massaging person's head",--GkrdYZ9Tc,0,10,train,0
"air drumming",--nQbRBEz2s,104,114,train,0
"""
VAL = """\
label,youtube_id,time_start,time_end,split
air drumming,_dbcJuKJQNs,40,50,val
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_rows(tmp_path: Path) -> None:
    annotations = read_kinetics("clips", annotation_folder=write(tmp_path, train=TRAIN, val=VAL))
    assert annotations.task.classes == ("air drumming", "massaging person's head", "testifying")
    assert [(s.id, s.target) for s in annotations.samples["train"]] == [
        ("---QUuC4vJs_000084_000094", 2),
        ("--GkrdYZ9Tc_000000_000010", 1),
        ("--nQbRBEz2s_000104_000114", 0),
    ]
    (sample,) = annotations.samples["val"]
    assert Path(sample.path) == Path("clips/val/air drumming/_dbcJuKJQNs_000040_000050.mp4")
    assert (sample.start, sample.end) == (None, None), "the files are cut already"


def test_names_of_the_files(tmp_path: Path) -> None:
    write(tmp_path, **{"kinetics-400_train": TRAIN, "kinetics-400_val": VAL, "missing_kinetics400_test": TRAIN})
    assert read_kinetics(tmp_path).samples.keys() == {"train", "val"}
    with pytest.raises(
        UserError, match=r"kinetics600: no train.csv or .* download it from https://github.com/cvdfound"
    ):
        read_kinetics(tmp_path / "nowhere", "kinetics600")


def test_test_without_labels(tmp_path: Path) -> None:
    unlabelled = "youtube_id,time_start,time_end,split\n--6bJUbfpnQ,17,27,test\n"
    write(tmp_path, train=TRAIN, validate=VAL, test=unlabelled)
    assert read_kinetics(tmp_path).samples.keys() == {"train", "val"}


@pytest.mark.parametrize(
    ("val", "message"),
    [
        (
            "youtube_id,time_start,time_end\na,1,2\n",
            "val.csv, line 1: 'label' is not in list; expected label,youtube_id",
        ),
        (
            "label,youtube_id,time_start,time_end\nair drumming,a,1,\n",
            "val.csv, line 2: expected label,.*, got 'air drumming,a,1,'",
        ),
        (
            "label,youtube_id,time_start,time_end\nair drumming,a\n",
            "val.csv, line 2: expected label,.*, got 'air drumming,a'",
        ),
        ("label,youtube_id,time_start,time_end\nyodelling,a,1,2\n", "the class 'yodelling' of another split"),
    ],
)
def test_unusable_files(tmp_path: Path, val: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_kinetics(write(tmp_path, train=TRAIN, val=val))


def test_year(tmp_path: Path) -> None:
    assert Kinetics700(str(tmp_path)).published is EDITIONS["kinetics700_2020"]
    assert Kinetics700(str(tmp_path), year=2019).published.sizes["train"] == 545_317


def test_sounds(tmp_path: Path) -> None:
    fake.make(tmp_path)
    annotations = read_kinetics_sounds(tmp_path)
    assert annotations.task.classes == CLASSES and len(CLASSES) == 31
    labels = [Path(sample.path).parent.name for sample in annotations.samples["train"]]
    assert labels == ["bowling"] * 2 + ["tap dancing"] * 2
    assert [CLASSES[sample.target] for sample in annotations.samples["train"]] == labels


def test_mini(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake.make(tmp_path)
    ar_net = read_mini_kinetics(tmp_path)
    assert ar_net.task.classes == ("air drumming", "massaging person's head")
    assert [sample.target for sample in ar_net.samples["train"]] == [0, 0, 1, 1]
    assert not caplog.records
    (tmp_path / "train_ytid_list.txt").write_text("-train0101x\n-train0300x\nnot-in-it00\n")
    (tmp_path / "val_ytid_list.txt").write_text("-val__0100x\n")
    s3d = read_mini_kinetics(tmp_path, "s3d")
    assert s3d.task.classes == ("bowling", "tap dancing")
    assert [sample.id for sample in s3d.samples["train"]] == ["-train0101x_000010_000020", "-train0300x_000000_000010"]
    assert "clips missing from Kinetics-400's train.csv: not-in-it00" in caplog.text


@pytest.mark.parametrize(("line", "message"), [("too short", "line 1: no YouTube id"), ("elsewhere00", "no clip of")])
def test_unusable_lists(tmp_path: Path, line: str, message: str) -> None:
    fake.make(tmp_path)
    (tmp_path / "annotations/mini_train_videofolder.txt").write_text(f"{line}\n")
    with pytest.raises(UserError, match=rf"mini_train_videofolder.txt.*{message}"):
        read_mini_kinetics(tmp_path)
