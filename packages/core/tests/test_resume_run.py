from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from colours import Colours
from running import COMMON, curve, fit, installed, run  # noqa: F401
from small_models import MeanColour

from vidcore import Optim
from vidcore.cli import main, runs


def test_last_goes_on_with_the_newest_run_and_its_curves(installed, capsys):  # noqa: F811
    assert main(fit(epochs=2)) == 0
    first = curve(run(0), "train/loss")
    assert [step for step, _ in first] == list(range(6))
    # What a run that was killed had written after its last checkpoint.
    with (run(0) / "metrics.csv").open("a") as file:
        header = (run(0) / "metrics.csv").read_text().splitlines()[0].split(",")
        cells = {"epoch": "2", "step": "6", "train/loss": "99"}
        file.write(",".join(cells.get(name, "") for name in header) + "\r\n2,7")

    pair = ["--model", "mean", "--data", "colours"]
    assert main(["fit", *pair, "--ckpt_path", "last", "--trainer.max_epochs", "4"]) == 0
    assert not run(1).exists()
    train = curve(run(0), "train/loss")
    assert train[:6] == first
    assert [step for step, _ in train] == list(range(12)), "each step once"
    assert [step for step, _ in curve(run(0), "val/top1")] == [2, 5, 8, 11]
    last = torch.load(run(0) / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 3
    assert [entry["epoch"] for entry in last["callbacks"]["Report"]["history"]] == [1, 2, 3, 4]

    config = yaml.safe_load((run(0) / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 4
    assert config["trainer"]["log_every_n_steps"] == 1, "what the run was started with still holds"
    assert config["data"]["init_args"]["root"] == "clips"
    assert config["ckpt_path"] is None

    # The run's own last.ckpt does as well, and says all that is needed.
    assert main(["fit", "--ckpt_path", str(run(0) / "checkpoints" / "last.ckpt"), "--trainer.max_epochs", "5"]) == 0
    assert [step for step, _ in curve(run(0), "train/loss")] == list(range(15))

    # Any other checkpoint, or other data, begin a new run.
    assert runs.continued(run(0) / "checkpoints" / "best.ckpt", {}) is None
    other = {"model": "vidcore.models.mean", "data": "vidcore.data.square"}
    assert runs.continued(run(0) / "checkpoints" / "last.ckpt", other) is None

    # The best of the newest run that has one; its data are the run's.
    capsys.readouterr()
    assert main(["test", *pair, "--ckpt_path", "best", *COMMON]) == 0
    tested = yaml.safe_load((run(1) / "config.yaml").read_text())
    assert tested["ckpt_path"] == str(run(0) / "checkpoints" / "best.ckpt")
    assert tested["data"]["init_args"]["root"] == "clips"


def test_a_finished_run_that_is_resumed_is_left_as_it_is(installed, capsys):  # noqa: F811
    assert main(fit(epochs=2)) == 0
    files = {path: path.read_bytes() for path in run(0).rglob("*") if path.is_file()}
    assert run(0) / "report" / "curves.png" in files
    again = ["fit", "--model", "mean", "--data", "colours", "--ckpt_path"]
    for checkpoint in ("last", str(run(0) / "checkpoints" / "last.ckpt")):
        capsys.readouterr()
        assert main([*again, checkpoint]) == 0
        said = capsys.readouterr().err
        assert f"report: {run(0) / 'report' / 'index.html'} (unchanged: training was already complete)" in said
        assert "best checkpoint:" in said
        assert {path: path.read_bytes() for path in run(0).rglob("*") if path.is_file()} == files
    assert not run(1).exists()

    # A job that was killed between its last checkpoint and its report still gets one.
    shutil.rmtree(run(0) / "report")
    assert main([*again, "last"]) == 0
    assert (run(0) / "report" / "curves.png").is_file()


def test_a_longer_training_follows_the_longer_schedule():
    def rates(optimizer, schedule, steps):
        found = []
        for _ in range(steps):
            optimizer.step()
            schedule.step()
            found.append(optimizer.param_groups[0]["lr"])
        return found

    weights = [torch.nn.Parameter(torch.zeros(1, 1))]
    optim = Optim(lr=1.0, warmup=0.2)
    whole = rates(*optim.build(weights, 20), 20)
    assert whole[:4] == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert whole[11] == pytest.approx(0.5)
    assert whole[19] == pytest.approx(0)
    optimizer, schedule = optim.build(weights, 5)
    assert rates(optimizer, schedule, 5)[-1] == pytest.approx(0)
    longer, its_schedule = optim.build(weights, 20)
    longer.load_state_dict(optimizer.state_dict())
    its_schedule.load_state_dict(schedule.state_dict())
    assert rates(longer, its_schedule, 15) == pytest.approx(whole[5:])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--ckpt_path", "last"], "no last.ckpt in runs/mean_colours/version_*/checkpoints"),
        (["--ckpt_path=best"], "no best.ckpt in runs/mean_colours/version_*/checkpoints"),
        (
            ["--ckpt_path", "last", "--trainer.logger.save_dir", "mine", "--trainer.logger.name", "it"],
            "no last.ckpt in mine/it/version_*/checkpoints",
        ),
        (["--ckpt_path", "last", "--config", "mine.yaml"], "no last.ckpt in elsewhere/mean_colours/version_"),
    ],
)
def test_where_there_is_nothing_to_go_on_with(installed, capsys, argv, says):  # noqa: F811
    Path("mine.yaml").write_text("trainer:\n  logger:\n    class_path: csv\n    init_args: {save_dir: elsewhere}\n")
    assert main(["fit", "--model", "mean", "--data", "colours", *argv]) == 2
    assert says in capsys.readouterr().err


def test_that_error_imports_no_torch(installed):  # noqa: F811
    argv = ["fit", "--model", "mean", "--data", "colours", "--ckpt_path", "last"]
    program = f"import sys; from vidcore.cli import main; assert main({argv!r}) == 2; assert 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_runs_are_claimed_and_the_newest_is_found_by_number(tmp_path):
    for number in range(12):
        assert runs.claim(tmp_path / "pair").name == f"version_{number}"
    for number in (2, 9, 10):
        (tmp_path / "pair" / f"version_{number}" / "checkpoints").mkdir()
        (tmp_path / "pair" / f"version_{number}" / "checkpoints" / "last.ckpt").touch()
    options = ["--trainer.logger.save_dir", str(tmp_path), "--trainer.logger.name=pair"]
    assert runs.newest("last", options, {}).parent.parent.name == "version_10"


def test_a_run_that_came_to_nothing_leaves_no_folder(installed):  # noqa: F811
    assert main(fit("--data.per_class", "0")) == 1
    assert not list(Path("runs").glob("*/*"))


@pytest.fixture
def interruptible():
    """Lightning has interrupts ignored once it was interrupted."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_keeps_what_was_finished_and_says_how_to_go_on(installed, capsys, monkeypatch, interruptible):  # noqa: F811
    def interrupted(self, batch, batch_idx):
        if self.current_epoch == 1 and batch_idx == 1:
            raise KeyboardInterrupt
        return training_step(self, batch, batch_idx)

    training_step = MeanColour.training_step
    monkeypatch.setattr(MeanColour, "training_step", interrupted)
    assert main(fit(epochs=3)) == 130
    said = capsys.readouterr().err
    last = run(0) / "checkpoints" / "last.ckpt"
    assert f"kept: {last}" in said
    assert f"vid fit --ckpt_path {last}" in said
    assert "Traceback" not in said
    assert torch.load(last, weights_only=True)["epoch"] == 0

    monkeypatch.setattr(MeanColour, "training_step", training_step)
    command = next(line for line in said.splitlines() if "vid fit" in line).partition("vid ")[2].split()
    assert main(command) == 0
    assert [step for step, _ in curve(run(0), "train/loss")] == list(range(9))


def test_unreadable_samples_make_evaluation_fail_after_it_has_reported(installed):  # noqa: F811
    Colours("clips", broken=1).prepare_data()
    assert main(fit()) == 0
    for version, (command, split) in enumerate([("test", "test"), ("validate", "val")], start=1):
        evaluate = [command, "--model", "mean", "--data", "colours", "--ckpt_path", "last", *COMMON]
        assert main([*evaluate, "--data.broken", "1"]) == 1
        assert curve(run(version), f"{split}/top1")
        assert (run(version) / "report" / "index.html").is_file()
    assert main(evaluate) == 0
