"""Worker processes that are killed, crash, or find no shared memory: an error that says what to do, and no hang."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from colours import COLOURS, Colours
from running import COMMON, fit, installed, process, run  # noqa: F401
from small_models import MeanColour
from test_predict import save

from vidcore import Task
from vidcore.cli import main
from vidcore.reading.dataset import VideoDataset
from vidcore.reading.workers import worker_error
from vidcore_datasets.commands.isolated import run_isolated

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are forked from the patched one")

FULL = "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"


@pytest.fixture
def fails(monkeypatch):
    """Makes worker processes fail in a way."""
    main_process = os.getpid()
    share, read = torch.UntypedStorage._share_fd_cpu_, VideoDataset.read

    def full(self):
        raise RuntimeError(FULL)

    def killed(by):
        def reads(self, sample):
            if os.getpid() != main_process:
                os.kill(os.getpid(), by)
            return read(self, sample)

        return reads

    def choose(way):
        if way == "full":
            monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", full)
        elif way is None:
            monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", share)
            monkeypatch.setattr(VideoDataset, "read", read)
        else:
            monkeypatch.setattr(VideoDataset, "read", killed(way))

    return choose


WAYS = {
    "full": "shared memory (/dev/shm), in which worker processes pass on batches, is full: enlarge it",
    signal.SIGBUS: "shared memory (/dev/shm), in which worker processes pass on batches, is full: enlarge it",
    signal.SIGKILL: "a worker process ended unexpectedly, as it does when memory runs out and the system kills it",
}


@pytest.mark.parametrize("way", WAYS)
def test_training_and_evaluation_end_with_what_to_do(installed, capsys, fails, way):  # noqa: F811
    assert main(fit()) == 0
    last = str(run(0) / "checkpoints" / "last.ckpt")
    evaluation = [*COMMON, "--data.num_workers", "1", "--ckpt_path", last]
    fails(way)
    for arguments in (fit("--data.num_workers", "1"), ["validate", *evaluation], ["test", *evaluation]):
        capsys.readouterr()
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert f"vid: error: {WAYS[way]}" in said
        assert "--data.num_workers 0" in said and "Traceback" not in said
    assert not run(1).exists() or not (run(1) / "checkpoints").exists()


@pytest.mark.parametrize("way", WAYS)
def test_prediction_keeps_its_rows_and_goes_on(installed, tmp_path, capsys, fails, way):  # noqa: F811
    Colours("clips").prepare_data()
    checkpoint = save(MeanColour(Task("single_label", tuple(COLOURS))), "mean", tmp_path / "mean.ckpt")
    command = ["predict", "--ckpt_path", checkpoint, "--accelerator", "cpu", "--output", "rows.jsonl"]
    assert main([*command, "clips/red_0.mp4"]) == 0
    fails(way)
    assert main([*command, "clips", "--num_workers", "1"]) == 1
    said = capsys.readouterr().err
    assert f"vid: error: {WAYS[way]}" in said and "--num_workers 0" in said and "Traceback" not in said
    assert len(Path("rows.jsonl").read_text().splitlines()) == 1
    fails(None)
    assert main([*command, "clips"]) == 0
    assert len({json.loads(line)["path"] for line in Path("rows.jsonl").read_text().splitlines()}) == 12


def test_workers_that_cannot_be_started(installed, capsys, monkeypatch):  # noqa: F811
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", full)
    assert main(fit("--data.num_workers", "1")) == 1
    said = capsys.readouterr().err
    assert f"vid: error: {WAYS['full']}" in said and "Traceback" not in said


def test_only_lost_workers_are_explained():
    assert worker_error(RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback")) is None
    assert worker_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert "ulimit -n" in str(worker_error(RuntimeError("received 0 items of ancdata")))
    crashed = "DataLoader worker (pid 7) is killed by signal: Segmentation fault. "
    assert "vid data check" in str(worker_error(RuntimeError(crashed)))


def test_an_idle_process_that_was_killed_is_replaced():
    results = run_isolated(process, [0, 1], 1, lambda path: 60)
    _, first = next(results)
    os.kill(first, signal.SIGKILL)
    while first in {child.pid for child in multiprocessing.active_children()}:
        pass
    _, second = next(results)
    assert isinstance(second, int) and second != first
    results.close()
