from __future__ import annotations

import multiprocessing
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vidcore import ClipSpec, Sample, Task, UserError
from vidcore.reading.dataset import VideoDataset
from vidcore.reading.index import SampleIndex, load_index, save_index


def boxes(rng, count):
    return {
        "boxes": rng.random((count, 4), np.float32),
        "labels": rng.integers(0, 5, count),
        "frames": np.sort(rng.integers(0, 9, count)).astype(np.int32),
    }


def some(kind, count=50):
    """Samples with and without whatever may be left out."""
    rng = np.random.default_rng(0)
    targets = {
        "single_label": lambda: int(rng.integers(5)),
        "multi_label": lambda: tuple(rng.integers(0, 5, rng.integers(0, 4)).tolist()),
        "detection": lambda: boxes(rng, rng.integers(0, 4)),
        "unlabelled": lambda: None,
        "mixed": lambda: [None, 3, (1, 2), (), boxes(rng, 2)][rng.integers(5)],
    }
    return [
        Sample(
            f"/videos/{'ü' * (number % 3)}{number}.mp4",
            targets[kind](),
            id="" if number % 2 else f"#{number}",
            start=None if number % 3 else number / 7,
            end=None if number % 5 else number / 3,
        )
        for number in range(count)
    ]


def same(one, other):
    if isinstance(one.target, dict):
        assert one.target.keys() == other.target.keys()
        for key, array in one.target.items():
            np.testing.assert_array_equal(other.target[key], array, strict=True)
        one, other = replace(one, target=None), replace(other, target=None)
    assert one == other
    assert type(one.target) is type(other.target)


KINDS = ["single_label", "multi_label", "detection", "unlabelled", "mixed"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_gives_back_what_it_was_made_of(kind, tmp_path):
    samples = some(kind)
    index = SampleIndex.of(samples)
    save_index(tmp_path / "index", {"train": index, "val": index[:3]}, {"task": "…"})
    splits, about = load_index(tmp_path / "index")
    assert about == {"task": "…"}
    for found in (
        index,
        pickle.loads(pickle.dumps(index)),
        splits["train"],
        pickle.loads(pickle.dumps(splits["train"])),
    ):
        assert len(found) == len(samples) == len(list(found))
        for one, other in zip(samples, found, strict=True):
            same(one, other)
        assert found.paths == [sample.path for sample in samples]
        assert found == index
    assert splits["val"] == index[:3] != index[1:4]


def test_an_index_is_a_sequence():
    samples = some("single_label")
    index = SampleIndex.of(samples)
    assert index == samples
    assert index != samples[1:]
    assert index != [*samples[:-1], replace(samples[-1], fps=12.5)]
    assert index[-1] == samples[-1]
    assert index[np.int64(3)] == samples[3]
    assert index[10:30:7] == samples[10:30:7]
    assert index[::-1] == samples[::-1]
    assert index.take(np.array([4, 4, 0])) == [samples[4], samples[4], samples[0]]
    moved = [f"/elsewhere/{number}" for number in range(50)]
    assert index.moved(moved) == [replace(sample, path=path) for sample, path in zip(samples, moved, strict=True)]
    assert samples[7] in index
    assert SampleIndex.of(index) is index
    assert SampleIndex.of([]) == []
    with pytest.raises(IndexError):
        index[50]


def test_names_that_are_no_text_and_rates():
    samples = [Sample("/a/\udcff.mp4", 0, fps=12.5), Sample("/a/b.mp4", 1)]
    assert SampleIndex.of(samples) == samples


def test_columns_of_one_class_each_are_what_samples_give():
    ids = ["ü", "\udcff", "c"]
    index = SampleIndex.labelled([f"/v/{name}.mp4" for name in ids], [2, 0, 2], ids)
    made = SampleIndex.of([Sample(f"/v/{name}.mp4", 0 if name == "\udcff" else 2, id=name) for name in ids])
    assert index == made
    assert {name: array.dtype for name, array in index.arrays.items()} == {
        name: array.dtype for name, array in made.arrays.items()
    }
    assert len(SampleIndex.labelled([], [], [])) == 0


def test_an_index_with_numbers_that_are_none_equals_itself():
    index = SampleIndex.of([Sample("a.mp4", {"labels": [1], "speed": [float("nan")]}), Sample("b.mp4")])
    assert index == index[:] != index[:1]


def test_labels_and_whose_they_are():
    index = SampleIndex.of([Sample("a", (1, 2)), Sample("b", ()), Sample("c", (0,))])
    labels, rows = index.labels
    assert (labels.tolist(), rows.tolist()) == ([1, 2, 0], [0, 0, 2])
    rng = np.random.default_rng(1)
    targets = [boxes(rng, count) for count in (2, 0, 3)]
    labels, rows = SampleIndex.of([Sample("a", target) for target in targets]).labels
    np.testing.assert_array_equal(labels, np.concatenate([target["labels"] for target in targets]))
    assert rows.tolist() == [0, 0, 2, 2, 2]


def test_lists_and_tensors_come_back_as_arrays():
    empty = {"boxes": [], "labels": [], "frames": []}
    full = {"boxes": torch.ones(1, 4), "labels": [2], "frames": [0]}
    index = SampleIndex.of([Sample("a", empty), Sample("b", full)])
    assert index[0].target["boxes"].shape == (0, 4)
    assert index[0].target["labels"].dtype == np.int64
    np.testing.assert_array_equal(index[1].target["boxes"], np.ones((1, 4), np.float32), strict=True)
    assert SampleIndex.of([Sample("a", [1, 2]), Sample("b", np.int64(3))])[:] == [Sample("a", (1, 2)), Sample("b", 3)]


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ([0, 1.5], "1.mp4 is labelled 1.5, which is no class"),
        (["cat"], "0.mp4 is labelled 'cat', which is no class"),
        ([{"boxes": 3}], "0.mp4: 'boxes' of its target must be an array of numbers"),
        ([{"names": ["a"]}], "0.mp4: 'names' of its target must be an array of numbers"),
        (
            [{"labels": [1]}, {"labels": [1], "tracks": [2]}],
            "0.mp4: 'tracks' of its target must be an array of numbers",
        ),
        ([{"boxes": [[1, 2]]}, {"boxes": [[1, 2, 3]]}], "'boxes' is of different shapes"),
    ],
)
def test_targets_that_are_none(targets, says):
    with pytest.raises(UserError, match=says):
        SampleIndex.of([Sample(f"{number}.mp4", target) for number, target in enumerate(targets)])


def test_a_damaged_file_is_noticed_wherever_the_damage_is(tmp_path):
    path = tmp_path / "index"
    save_index(path, {"train": SampleIndex.of(some("mixed", 20))}, {"task": "…"})
    data = path.read_bytes()
    for place in [*range(0, len(data), 37), data.index("…".encode()), data.index(b"I64")]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with pytest.raises(ValueError, match="index"):
            load_index(path)
    for length in (0, 5, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="index"):
            load_index(path)
    path.write_bytes(data)
    load_index(path)
    assert [file.name for file in tmp_path.iterdir()] == ["index"]


def test_what_another_start_writes_does_not_change_a_mapped_index(tmp_path):
    old, new = SampleIndex.of(some("multi_label")), SampleIndex.of(some("single_label"))
    save_index(tmp_path / "index", {"train": old}, {})
    mapped = load_index(tmp_path / "index")[0]["train"]
    sent = pickle.dumps(mapped)
    save_index(tmp_path / "index", {"train": new}, {})
    assert mapped == old
    with pytest.raises(UserError, match="start again"):
        pickle.loads(sent)


def test_spawned_workers_get_the_name_of_the_file(tmp_path):
    save_index(tmp_path / "index", {"train": SampleIndex.of(some("single_label", 5000))}, {})
    index = load_index(tmp_path / "index")[0]["train"]
    dataset = VideoDataset(index, Task.numbered(5), ClipSpec(size=16))
    assert dataset.samples is index
    assert len(pickle.dumps(dataset)) < 10_000
    assert pickle.loads(pickle.dumps(dataset)).samples == index


def grown(samples, connection):
    """Kilobytes of its own that a forked process has got by looking at all samples."""

    def private():
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    before = private()
    for number in range(len(samples)):
        samples[number]
    connection.send(private() - before)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_forked_workers_share_an_index_as_they_do_not_share_a_list():
    context = multiprocessing.get_context("fork")
    samples = some("single_label", 50_000)
    used = {}
    for name, sequence in (("list", samples), ("index", SampleIndex.of(samples))):
        ours, theirs = context.Pipe()
        process = context.Process(target=grown, args=(sequence, theirs))
        process.start()
        used[name] = ours.recv()
        process.join()
    assert used["index"] < 1024
    assert used["list"] > 4 * 1024
