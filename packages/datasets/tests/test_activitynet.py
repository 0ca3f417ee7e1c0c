"""ActivityNet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake.activitynet import make

from vidcore.errors import UserError
from vidcore_datasets.activitynet import ActivityNet, read_activitynet


def test_whole_videos(tmp_path: Path) -> None:
    make(tmp_path)
    annotations = read_activitynet(tmp_path)
    assert annotations.task.kind == "multi_label"
    assert annotations.task.classes == ("Applying sunscreen", "Ballet", "Zumba")
    assert [(s.id, s.target) for s in annotations.samples["train"]] == [
        ("v_---9CpRcKoU", (1, 2)),
        ("v_--0edUL8zmA", (0, 1)),
    ]
    assert [(s.id, s.target) for s in annotations.samples["val"]] == [
        ("v_QOlSCBRmfWY", (2,)),
        ("v__fewvalidation", (0,)),
    ]
    assert "test" not in annotations.samples


def test_files_of_any_kind_in_any_folder(tmp_path: Path) -> None:
    make(tmp_path)
    paths = [Path(s.path).relative_to(tmp_path).as_posix() for s in ActivityNet(str(tmp_path)).samples("val")]
    assert paths == ["v1-3/train_val/v_QOlSCBRmfWY.mkv", "v1-3/train_val/v__fewvalidation.mp4"]


def test_segments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path)
    data = ActivityNet(str(tmp_path), segments=True)
    assert data.task.kind == "single_label"
    assert [(s.id, s.target, s.start, s.end) for s in data.samples("train")] == [
        ("v_---9CpRcKoU#0-0.25", 1, 0.0, 0.25),
        ("v_---9CpRcKoU#0.5-1", 1, 0.5, 1.0),
        ("v_---9CpRcKoU#0.125-0.75", 2, 0.125, 0.75),
        ("v_--0edUL8zmA#0-0.25", 0, 0.0, 0.25),
    ]
    assert "ignoring 1 segments whose end is not after their start" in caplog.text
    assert "instead of 10,024" not in caplog.text, "the figures are of videos"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("taxonomy"), "not in ActivityNet v1.3 format (KeyError: 'taxonomy')"),
        (lambda content: content["database"]["QOlSCBRmfWY"].pop("annotations"), "KeyError: 'annotations'"),
        (
            lambda content: content["database"]["QOlSCBRmfWY"]["annotations"][0].update(label="Zoomba"),
            "labels missing from the taxonomy: Zoomba",
        ),
    ],
)
def test_errors(tmp_path: Path, change, said: str) -> None:
    make(tmp_path)
    file = tmp_path / "activity_net.v1-3.min.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError) as error:
        read_activitynet(tmp_path)
    assert str(file) in str(error.value) and said in str(error.value)
