"""Errors in class lists of data sets: one line that names the file and the line."""

from __future__ import annotations

import json

import pytest
from fake import FAKES

from vidcore import UserError, plugins

LISTS = {
    "ucf101": ("classInd.txt", "1 A\n2 B\n\n3 A\n", "line 4: class 'A' is listed already in line 1"),
    "jester": ("jester-v1-labels.csv", "A\nB\n\nA\n", "line 4: class 'A' is listed already in line 1"),
    "mini_sports1m": ("labels.txt", "A\nB\nA\n", "line 3: class 'A' is listed already in line 1"),
    "charades": (
        "Charades_v1_classes.txt",
        "c000 A\nc001 B\nc002 A\n",
        "line 3: class 'A' is listed already in line 1",
    ),
    "moments": ("moments_categories.txt", "a,0\nb,1\na,2\n", "line 3: class 'a' is already listed"),
    "diving48": ("Diving48_vocab.json", json.dumps([["A"], ["B"], ["A"]]), "entry 3: class 'A' is listed already"),
}


def read(name, folder):
    return plugins.load("vidcore.data", name)(str(folder), **FAKES[name].options).task


def class_list(name, folder):
    (path,) = folder.rglob(LISTS[name][0])
    return path


@pytest.fixture
def folder(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    FAKES[request.param].make(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize(("name", "folder"), [(name, name) for name in LISTS], indirect=["folder"])
def test_a_class_that_is_listed_twice(name, folder):
    path = class_list(name, folder)
    path.write_text(LISTS[name][1])
    with pytest.raises(UserError, match=path.name) as caught:
        read(name, folder)
    assert LISTS[name][2] in str(caught.value)


@pytest.mark.parametrize(("name", "folder"), [(name, name) for name in LISTS], indirect=["folder"])
def test_a_list_in_another_encoding(name, folder):
    path = class_list(name, folder)
    content = path.read_bytes()
    path.write_bytes(content + b"\nb\xfccken\n")
    with pytest.raises(UserError, match=path.name) as caught:
        read(name, folder)
    assert f"line {content.count(bytes([10])) + 2}: not UTF-8" in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=path.name):
        read(name, folder)


@pytest.mark.parametrize(("name", "folder"), [(name, name) for name in LISTS], indirect=["folder"])
def test_a_byte_order_mark_and_line_ends_of_windows(name, folder):
    path = class_list(name, folder)
    task = read(name, folder)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read(name, folder) == task
