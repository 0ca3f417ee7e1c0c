"""CSV files."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.task import Task
from vidcore_datasets.csv import Csv, read_csv, require_files

SPEECH = """\
path,label,label_id,split,command,color,prep,letter,digit,adverb,color_start_s,color_end_s
blue/bbaf3s.mp4,blue,1,train,bin,blue,at,f,3,soon,0.9,1.08
blue/pbio7a.mp4,blue,1,val,place,blue,in,o,7,again,0.82,1.08
green/bbiz2p.mp4,green,0,train,place,green,in,z,2,please,0.88,1.14
white/lwbz1n.mp4,white,2,train,lay,white,by,z,1,now,0.88,1.14
"""
STROKES = """\
path,label,label_id,split,scene,split_easy
b_slice/b_slice1.mp4,b_slice,0,train,b_slice_s01,train
serve/serve1.mp4,serve,1,train,serve_s01,val
serve/serve3.mp4,serve,1,val,serve_s03,test
"""


def write(folder: Path, text: str, name: str = "labels.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def message(file: Path, **options) -> str:
    with pytest.raises(UserError) as error:
        read_csv(file, **options)
    assert str(file) in str(error.value)
    return str(error.value)


def test_order_of_label_id_and_missing_test(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    annotations = read_csv(write(tmp_path, SPEECH))
    assert annotations.task.kind == "single_label" and annotations.task.classes == ("green", "blue", "white")
    assert [(s.id, s.target) for s in annotations.samples["train"]] == [
        ("blue/bbaf3s.mp4", 1),
        ("green/bbiz2p.mp4", 0),
        ("white/lwbz1n.mp4", 2),
    ]
    (sample,) = annotations.samples["val"]
    assert (Path(sample.path), sample.start, sample.end) == (tmp_path / "blue/pbio7a.mp4", None, None)
    assert annotations.samples["test"] == annotations.samples["val"]
    assert "test uses the 1 validation clips" in caplog.text


def test_other_columns(tmp_path: Path) -> None:
    by_command = read_csv(write(tmp_path, SPEECH), label_column="command")
    assert by_command.task.classes == ("bin", "lay", "place")
    easy = read_csv(write(tmp_path, STROKES), split_column="split_easy").samples
    assert {split: [s.id for s in part] for split, part in easy.items()} == {
        "train": ["b_slice/b_slice1.mp4"],
        "val": ["serve/serve1.mp4"],
        "test": ["serve/serve3.mp4"],
    }


def test_inconsistent_label_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "path,label,label_id,split\n1.mp4,z,0,train\n2.mp4,y,0,train\n3.mp4,y,1,val\n"
    assert read_csv(write(tmp_path, text)).task.classes == ("y", "z")
    assert "one to one" in caplog.text


def test_drawn_splits_are_kept(tmp_path: Path) -> None:
    rows = [f"{name}/{index}.mp4,{name}" for name in "ab" for index in range(20)]
    file = write(tmp_path, "path,label\n" + "\n".join(rows) + "\n")
    samples = read_csv(file).samples
    assert {split: Counter(s.target for s in part) for split, part in samples.items()} == {
        "train": {0: 14, 1: 14},
        "val": {0: 3, 1: 3},
        "test": {0: 3, 1: 3},
    }
    assert (tmp_path / "labels.splits.csv").is_file()
    assert read_csv(file, seed=4).samples == samples


def test_val_is_drawn_from_train(tmp_path: Path) -> None:
    rows = [f"{name}/{index}.mp4,{name},{'test' if index == 0 else 'train'}" for name in "ab" for index in range(21)]
    samples = read_csv(write(tmp_path, "path,label,split\n" + "\n".join(rows))).samples
    assert {split: len(part) for split, part in samples.items()} == {"train": 34, "val": 6, "test": 2}
    assert [s.id for s in samples["test"]] == ["a/0.mp4", "b/0.mp4"]


def test_parts_of_a_video_stay_together(tmp_path: Path) -> None:
    rows = [f"{video}.mp4,{'ab'[(video + part) % 2]},{part},{part + 1}" for video in range(20) for part in range(4)]
    samples = read_csv(write(tmp_path, "path,label,start,end\n" + "\n".join(rows))).samples
    videos = {split: {s.path for s in part} for split, part in samples.items()}
    assert len(set().union(*videos.values())) == sum(map(len, videos.values())) == 20
    assert all(videos.values()) and sum(map(len, samples.values())) == 80
    ids = [s.id for part in samples.values() for s in part]
    assert len(set(ids)) == 80 and "3.mp4#2-3" in ids


def test_multi_label(tmp_path: Path) -> None:
    text = "path,label,split\n1.mp4,run; jump,train\n2.mp4,jump,train\n3.mp4,clap,val\n"
    annotations = read_csv(write(tmp_path, text))
    assert annotations.task.kind == "multi_label" and annotations.task.classes == ("clap", "jump", "run")
    assert [s.target for s in annotations.samples["train"]] == [(1, 2), (1,)]

    plain = "path,label,split\n1.mp4,run,train\n2.mp4,,train\n3.mp4,clap,val\n"
    annotations = read_csv(write(tmp_path, plain), multi_label=True)
    assert annotations.task.kind == "multi_label"
    assert [s.target for s in annotations.samples["train"]] == [(1,), ()]


def test_multi_label_splits_are_drawn_without_strata(tmp_path: Path) -> None:
    rows = [f"{index}.mp4,a{index};b" for index in range(20)]
    samples = read_csv(write(tmp_path, "path,label\n" + "\n".join(rows))).samples
    assert {split: len(part) for split, part in samples.items()} == {"train": 14, "val": 3, "test": 3}


def test_times_root_and_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeffpath, label,start,end,split\n1.mp4,a,,2.5,train\n1.mp4,b,2.5,,train\n/abs/2.mp4,a,0.5,1,val\n"
    annotations = read_csv(write(tmp_path, text), root="/videos")
    samples = [*annotations.samples["train"], *annotations.samples["val"]]
    assert [(Path(s.path), s.start, s.end, s.id) for s in samples] == [
        (Path("/videos/1.mp4"), None, 2.5, "1.mp4#0-2.5"),
        (Path("/videos/1.mp4"), 2.5, None, "1.mp4#2.5-"),
        (Path("/abs/2.mp4"), 0.5, 1.0, "/abs/2.mp4#0.5-1"),
    ]


def test_only_test_clips(tmp_path: Path) -> None:
    samples = read_csv(write(tmp_path, "path,label,split\n1.mp4,a,test\n2.mp4,b,test\n")).samples
    assert {split: len(part) for split, part in samples.items()} == {"train": 0, "val": 0, "test": 2}


HEAD = "path,label,start,end,split\n1.mp4,a,,,train\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\n1.mp4,a\n", "line 1: no column 'path'; there are 'file', 'label'"),
        ("", "line 1: no column 'label', 'path'"),
        ("path,label\n", "has a header but no clips"),
        ("path,label\n1.mp4,a\n2.mp4,a\n", "only one class, 'a' in column 'label'"),
        ("path,label\n" + "".join(f"{i}.mp4,{'ab'[i % 2] if i < 2 else ''}\n" for i in range(9)), "(7 in all)"),
        (HEAD + "2.mp4,b,,,dev\n", "line 3, column 'split': must be train, val or test, got 'dev'"),
        (HEAD + "2.mp4,b,,,\n", "line 3, column 'split': must be train, val or test, got ''"),
        (HEAD + "2.mp4,b,soon,,val\n", "line 3, column 'start': must be a time in seconds, 0 or more, got 'soon'"),
        (HEAD + "2.mp4,b,-1,,val\n", "line 3, column 'start': must be a time in seconds, 0 or more, got '-1'"),
        (HEAD + "2.mp4,b,,nan,val\n", "line 3, column 'end': must be a time in seconds, 0 or more, got 'nan'"),
        (HEAD + "2.mp4,b,2,1.5,val\n", "line 3, column 'end': must be after start (2 s), got 1.5 s"),
        (HEAD + ",b,,,val\n", "line 3, column 'path': is empty"),
        (HEAD + "2.mp4,b,,,val\n1.mp4,a,,,val\n", "line 4, column 'path': '1.mp4' is already listed in line 2"),
        (HEAD + "2.mp4,b,val\n", "line 3: expected 5 columns as in the header, got 3"),
        (HEAD + "2.mp4,b,,,val,x\n", "line 3: expected 5 columns as in the header, got 6"),
        (HEAD + '2.mp4,"b"c,,,val\n', "line 3: not valid CSV"),
    ],
)
def test_errors(tmp_path: Path, text: str, said: str) -> None:
    assert said in message(write(tmp_path, text))


def test_errors_of_the_file(tmp_path: Path) -> None:
    assert "does not exist" in message(tmp_path / "none.csv")
    assert "is not a file" in message(tmp_path)
    assert "no column 'split_easy'" in message(write(tmp_path, SPEECH), split_column="split_easy")
    assert "no column 'verb'" in message(write(tmp_path, SPEECH), label_column="verb")
    binary = tmp_path / "latin.csv"
    binary.write_bytes(b"path,label\n\xe9.mp4,a\n")
    assert "not UTF-8" in message(binary)


def test_data_module_checks_files(tmp_path: Path) -> None:
    text = "path,label,split\n" + "".join(f"{i}.mp4,{'ab'[i % 2]},{'train' if i < 9 else 'val'}\n" for i in range(10))
    data = Csv(str(write(tmp_path, text)), batch_size=1)
    assert data.task.classes == ("a", "b")
    (tmp_path / "9.mp4").touch()
    assert len(data.samples("val")) == 1
    with pytest.raises(UserError, match=r"labels\.csv lists files that do not exist: .*0\.mp4.*9 in all"):
        data.samples("train")
    require_files(data.samples("val").paths, "here")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf8_where_there_are_such_files(tmp_path):
    names = [b"caf\xe9.mp4", b"caf\xe8.mp4"]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    listed = tmp_path / "labels.csv"
    rows = [b"path,label,split", *(name + b",%d,train" % index for index, name in enumerate(names)), b"a.mp4,0,val"]
    listed.write_bytes(b"\n".join(rows))
    train = read_csv(listed).samples["train"]
    assert [os.fsencode(sample.path) for sample in train] == [os.fsencode(tmp_path) + b"/" + name for name in names]
    assert len({sample.id for sample in train}) == 2
    listed.write_bytes(b"path,label\na.mp4,caf\xe9\nb.mp4,b\n")
    with pytest.raises(UserError, match=r"line 2, column 'label': 'caf\\udce9' is not UTF-8"):
        read_csv(listed)


def test_a_file_that_the_model_was_not_trained_on_is_evaluated_whole(tmp_path: Path) -> None:
    file = write(tmp_path, "path,label\n" + "".join(f"{i}.mp4,wave\n" for i in range(4)))
    annotations = read_csv(file, trained_on=False)
    assert annotations.task.classes == ("wave",)
    assert [len(annotations.samples[split]) for split in ("train", "val", "test")] == [4, 4, 4]
    assert not list(tmp_path.glob("*.splits.csv"))

    # Options that change the annotations are part of the cache key.
    task = Task("multi_label", ("clap", "wave"))
    for evaluated in (False, True):
        data = Csv(str(file))
        if evaluated:
            data.evaluate_as(task, {})
            for index in range(4):
                (tmp_path / f"{index}.mp4").touch()
            data.clip_spec = ClipSpec(frames=2, size=16)
            assert [sample.target for sample in data.dataset("test").samples] == 4 * [(1,)]
        else:
            with pytest.raises(UserError, match="only one class"):
                data.task  # noqa: B018
