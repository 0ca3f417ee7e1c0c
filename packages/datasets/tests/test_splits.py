"""Draw splits and save them."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from vidcore.errors import UserError
from vidcore_datasets import tables
from vidcore_datasets.splits import draw_splits, remembered_splits, split_named, split_sizes


def clips(**classes: int) -> dict[str, str]:
    return {f"{name}/{index:03d}.mp4": name for name, count in classes.items() for index in range(count)}


def sizes(drawn: dict[str, str], strata: dict[str, str], name: str) -> tuple[int, ...]:
    counts = Counter(split for path, split in drawn.items() if strata[path] == name)
    return counts["train"], counts["val"], counts["test"]


def test_each_class_is_divided_alike() -> None:
    strata = clips(many=100, few=3, two=2, one=1)
    drawn = draw_splits(strata)
    assert drawn.keys() == strata.keys()
    assert sizes(drawn, strata, "many") == (70, 15, 15)
    assert sizes(drawn, strata, "few") == (1, 1, 1)
    assert sizes(drawn, strata, "two") == (1, 1, 0)
    assert sizes(drawn, strata, "one") == (1, 0, 0)


def test_sizes_add_up() -> None:
    for count in range(200):
        three, two = split_sizes(count), split_sizes(count, ("train", "val"))
        assert sum(three.values()) == sum(two.values()) == count
        assert min(three.values()) >= (count >= 3)
        assert three["train"] >= three["val"] == three["test"] or count < 3


def test_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    strata = clips(a=30, b=30)
    backwards = dict(reversed(strata.items()))
    assert draw_splits(strata, seed=1) == draw_splits(backwards, seed=1)
    assert draw_splits(strata, seed=1) != draw_splits(strata, seed=2)
    # Pinned: the draw must be the same on every machine and in every release.
    held_out = {path for path, split in draw_splits(clips(a=8)).items() if split != "train"}
    assert held_out == {"a/001.mp4", "a/003.mp4"}


def test_known_clips_keep_their_split_and_new_ones_fill_up() -> None:
    before = draw_splits(clips(a=20))
    strata = clips(a=40)
    after = draw_splits(strata, known=before)
    assert before.items() <= after.items()
    assert sizes(after, strata, "a") == (28, 6, 6)


def test_names() -> None:
    assert [split_named(name) for name in ("train", "Val", " valid", "validation", "TEST")] == [
        "train",
        "val",
        "val",
        "val",
        "test",
    ]
    assert split_named("training videos") is None


def test_file_is_written_once_and_then_obeyed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, strata = tmp_path / "splits.csv", clips(a=10, b=10)
    drawn = remembered_splits(strata, file)
    written = file.read_bytes()
    assert remembered_splits(strata, file) == drawn and not caplog.records
    assert remembered_splits(strata, file, seed=5) == drawn
    assert "seed 0, not 5" in caplog.text
    assert file.read_bytes() == written
    assert [entry.name for entry in tmp_path.iterdir()] == ["splits.csv"]

    swapped = {path: {"train": "test", "test": "train"}.get(split, split) for path, split in drawn.items()}
    file.write_text("path,split\n" + "".join(f"{path},{split}\n" for path, split in swapped.items()))
    assert remembered_splits(strata, file) == swapped


def test_changed_listing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "splits.csv"
    before = remembered_splits(clips(a=10, b=10), file)
    after = remembered_splits(clips(a=12, c=6), file)
    assert after.keys() == clips(a=12, c=6).keys()
    assert all(after[path] == split for path, split in before.items() if path in after)
    assert "no longer exist" in caplog.text and "b/000.mp4" in caplog.text and "10 in all" in caplog.text
    again = remembered_splits(clips(a=10, b=10), file)
    assert again == before, "what is gone for a while comes back to its split"


def test_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setattr(tables, "cache_folder", lambda: cache / "vidcore")
    replacing = tables.replacing

    def refuse(path: Path) -> AbstractContextManager[Path]:
        if path.parent == data:
            raise PermissionError(path)
        return replacing(path)

    monkeypatch.setattr(tables, "replacing", refuse)
    drawn = remembered_splits(clips(a=10), data / "splits.csv")
    assert not list(data.iterdir())
    (kept,) = cache.rglob("*.csv")
    assert remembered_splits(clips(a=10), data / "splits.csv", seed=9) == drawn
    grown = remembered_splits(clips(a=20), data / "splits.csv")
    assert drawn.items() <= grown.items() and kept.read_text().count("mp4") == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,split\na,train\n", "expected the columns path and split, got file, split"),
        ("path,split\na,train\nb,dev\n", r"line 3: split must be train, val or test, got 'dev'"),
    ],
)
def test_unusable_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "splits.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        remembered_splits(clips(a=9), file)
    assert str(file) in str(error.value)


def test_too_few_clips(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing left for test.* needs 3 clips"):
        remembered_splits(clips(a=2, b=2), tmp_path / "splits.csv")
    assert not list(tmp_path.iterdir())


def test_names_that_begin_like_formulas_keep_their_splits(tmp_path: Path) -> None:
    strata = {f"{sign}{number}.mp4": "a" for sign in ("=", "-", "@x/", "'+") for number in range(4)}
    drawn = remembered_splits(strata, tmp_path / "splits.csv")
    with (tmp_path / "splits.csv").open() as file:
        written = [line.partition(",")[0] for line in file][1:]
    assert len(written) == 16 and all(cell.startswith("'") for cell in written)
    assert remembered_splits(strata, tmp_path / "splits.csv", seed=9) == drawn
