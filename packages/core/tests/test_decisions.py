"""Decisions of adaptive models: usage, rows, shares and drawings follow from them."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from small_models import LookWhereBright
from torch.utils.data import DataLoader

from vidcore import Output, Task
from vidcore.predict.rows import _parquet_rows, _write_parquet
from vidcore.video.render import draw

TASK = Task("single_label", ("a", "b", "c"))
RGB = torch.tensor([1.0, -1, -1, 1, -1, -1, -1, 1]).reshape(2, 1, 4, 1, 1).expand(2, 3, 4, 16, 16)


def batch():
    return {"inputs": {"rgb": RGB.clone()}, "ids": ["x", "y"], "target": torch.tensor([0, 1])}


def test_usage_follows_unless_it_is_given():
    ran = torch.tensor([[True, False, True], [False, False, False]])
    assert Output(decisions={"see": ran}).usage["see"].tolist() == [2, 0]
    given = Output(usage={"see": torch.tensor([3, 1]), "hear": torch.tensor([1, 1])}, decisions={"see": ran}).usage
    assert {name: runs.tolist() for name, runs in given.items()} == {"see": [3, 1], "hear": [1, 1]}


def test_rows_have_decisions_and_their_cost():
    rows = LookWhereBright(TASK).eval().predict_step(batch(), 0)
    assert [row["decisions"]["see"] for row in rows] == [[True, False, False, True], [False, False, False, True]]
    assert [row["gmacs"] for row in rows] == [2 * 9 / 1e9, 9 / 1e9]


def test_parquet_keeps_decisions_and_reads_files_without_the_column(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    seen = {"see": [True, False], "hear": [False]}
    rows = [{"path": "x", "decisions": seen, "gmacs": 0.5}, {"path": "y", "gmacs": 1.0}]
    _write_parquet(path, rows)
    assert list(_parquet_rows(path)) == rows
    parquet.write_table(parquet.read_table(path).drop_columns(["decisions"]), path)
    assert list(_parquet_rows(path)) == [{"path": "x", "gmacs": 0.5}, {"path": "y", "gmacs": 1.0}]


def test_a_test_logs_the_share(tmp_path):
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_progress_bar=False)
    values = trainer.test(LookWhereBright(TASK), DataLoader([batch()], batch_size=None), verbose=False)[0]
    assert values["test/share_see"] == 3 / 8


def test_a_strip_below_each_frame_shows_which_parts_ran():
    frames = torch.zeros(2, 3, 240, 240, dtype=torch.uint8)
    drawn = draw(frames, [], {"decisions": {"see": [True, False]}})
    strip = drawn[:, :, 240:]
    assert strip.shape[2] > 10
    middle = strip[0, :, strip.shape[2] // 2]
    assert middle[:, 100].tolist() == [0, 128, 0] and middle[:, 200].tolist() == [51, 51, 51]
    assert (strip[0, :, 1, 100] == 255).all() and (strip[1, :, 1, 200] == 255).all()  # around the present part
    assert not (strip[1, :, 1, 100] == 255).all()
