from __future__ import annotations

import json
import re
import struct
import sys
import time
from pathlib import Path

import pytest
import yaml
from running import COMMON, curve, fit, installed, run  # noqa: F401

from vidcore import UserError
from vidcore.cli import main, names

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def offline(monkeypatch):
    """W&B as it is without a network: it never looks for one, nor for a login."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_RUN_ID", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


def wandb_files(folder):
    """The files of W&B's own of the runs in a run's folder, oldest first."""
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)


def records(path):
    """What a W&B run wrote, read back: LevelDB's log format, blocks of 32 KiB after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, whole = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        length, kind = struct.unpack("<HB", content[position + 4 : position + 7])
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if position > len(content):
            return
        if kind in (1, 4):  # the whole of a record, or its last part
            yield Record.FromString(whole)
            whole = b""


def read_back(path):
    """Run, config, history rows with their keys joined by dots, and the names of files."""
    for _ in range(300):  # W&B's own process may still be writing when the command is over
        found = read_so_far(path)
        if "exit" in found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{path} never ended")


def read_so_far(path):
    found = {"config": {}, "history": [], "files": [], "summary": {}}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found |= {"id": record.run.run_id, "project": record.run.project, "name": record.run.display_name}
        elif kind == "config":
            found["config"] |= {item.key: json.loads(item.value_json) for item in record.config.update if item.key}
        elif kind == "history":
            items = record.history.item
            found["history"].append({".".join(item.nested_key): json.loads(item.value_json) for item in items})
        elif kind == "summary":
            found["summary"] |= {item.key: json.loads(item.value_json) for item in record.summary.update}
        elif kind == "files":
            found["files"] += [file.path for file in record.files.files]
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def table(path, name):
    (file,) = path.parent.glob(f"files/media/table/{name}_*.table.json")
    return json.loads(file.read_text())


def values(found, metric):
    return [(row["trainer/global_step"], row[metric]) for row in found["history"] if metric in row]


def test_wandb_gets_everything_and_goes_on_with_the_same_run(installed, offline, capsys, monkeypatch):  # noqa: F811
    assert main(fit("--trainer.logger", "wandb", epochs=2)) == 0
    (path,) = wandb_files(run(0))
    found = read_back(path)
    assert (found["project"], found["name"], found["exit"]) == ("vidcore", "mean_colours/version_0", 0)
    assert found["config"]["config"]["model"]["class_path"] == "vidcore.models.mean"
    assert found["config"]["config"]["data"]["init_args"]["root"] == "clips"
    assert found["config"]["versions"]["vidcore-small"] == "1.0"
    assert {"python", "torch", "lightning", "vidcore"} <= set(found["config"]["versions"])
    assert [step for step, _ in values(found, "train/loss")] == list(range(6))
    assert [step for step, _ in values(found, "val/top1")] == [2, 5]

    flops = table(path, "flops")
    assert flops["columns"] == ["component", "parameters", "GMACs per run", "runs per clip", "GMACs per clip"]
    assert flops["data"] == [["model", 75, 4.8e-08, 1, 4.8e-08]]
    assert found["summary"]["parameters"] == 75
    point = table(path, "val/accuracy_gmacs_table")
    assert point["columns"] == ["GMACs", "top1"]
    assert point["data"][0] == [pytest.approx(4.8e-08), pytest.approx(values(found, "val/top1")[-1][1])]
    confusion = table(path, "val/confusion_table")
    assert len(confusion["data"]) == 9
    assert sum(row[2] for row in confusion["data"]) == 12
    figures = {re.sub(r"_\d+_\w+", "", Path(name).name) for name in found["files"] if name.endswith(".png")}
    assert figures == {"curves.png", "confusion.png", "accuracy_gmacs.png"}
    captions = next(row["val/examples.captions"] for row in found["history"] if "val/examples.captions" in row)
    assert len(captions) == len([name for name in found["files"] if name.endswith(".mp4")]) == 8
    assert all(re.fullmatch(r"\w+ \d+ %; true: \w+; 4.8e-08 GMACs", caption) for caption in captions)

    # The run goes on under the same id.
    pair = ["--model", "mean", "--data", "colours"]
    assert main(["fit", *pair, "--ckpt_path", "last", "--trainer.max_epochs", "3"]) == 0
    again = read_back(wandb_files(run(0))[-1])
    assert len(wandb_files(run(0))) == 2
    assert again["id"] == found["id"]
    assert [step for step, _ in values(again, "train/loss")] == [6, 7, 8]
    assert again["config"]["config"]["trainer"]["max_epochs"] == 3

    # A failed start leaves no run; what fails later has another id and says so.
    assert main(fit("--trainer.logger=wandb", "--model.weights", "missing.pt")) == 1
    assert not run(1).exists()

    def fail(self):
        raise UserError("the epoch fails")

    monkeypatch.setattr("vidcore.module.VideoModule.on_train_epoch_end", fail)
    assert main(fit("--trainer.logger=wandb")) == 1
    failed = read_back(wandb_files(run(1))[-1])
    assert failed["id"] != found["id"]
    assert failed["exit"] == 1


@pytest.mark.parametrize("logger", ["tensorboard", "false"])
def test_two_runs_in_one_folder_and_one_that_goes_on(installed, logger):  # noqa: F811
    if logger == "tensorboard":
        pytest.importorskip("tensorboard")
    arguments = ["--trainer.logger", logger]
    for version in (0, 1):
        assert main(fit(*arguments)) == 0
        assert {path.name for path in run(version).iterdir()} >= {"config.yaml", "checkpoints", "report"}
    assert main(fit(*arguments, "--ckpt_path", "last", epochs=2)) == 0
    assert not run(2).exists()
    assert {path.name for path in Path().iterdir()} <= {"clips", "runs", "site"}
    if logger == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run(1))).Reload()
        assert [event.step for event in events.Scalars("train/loss")] == list(range(6))


def test_several_loggers_share_the_folder(installed, offline):  # noqa: F811
    Path("mine.yaml").write_text(
        "trainer:\n  logger:\n"
        "  - {class_path: csv, init_args: {save_dir: mine}}\n"
        "  - {class_path: wandb, init_args: {project: theirs}}\n"
    )
    assert main(fit("--config", "mine.yaml")) == 0
    (folder,) = Path("mine").glob("*/version_0")
    assert curve(folder, "val/top1")
    assert read_back(wandb_files(folder)[0])["project"] == "theirs"


def test_short_names_of_loggers():
    csv = "lightning.pytorch.loggers.CSVLogger"
    for arguments in (["--trainer.logger", "csv"], ["--trainer.logger.class_path", "csv"]):
        assert names.expand_arguments(arguments) == [arguments[0], csv]
    assert names.expand_arguments(["--trainer.logger=csv"]) == [f"--trainer.logger={csv}"]
    assert names.expand_arguments(["--trainer.logger", "MLFlowLogger"])[1] == "MLFlowLogger"
    assert names.expand_arguments(["--trainer.logger", "false"])[1] == "false"
    config = {"trainer": {"logger": "csv", "max_epochs": 1}}
    assert names.expand_config(config) == {"trainer": {"logger": {"class_path": csv}, "max_epochs": 1}}
    config = {"trainer": {"logger": [{"class_path": "csv", "init_args": {"save_dir": "x"}}, "csv"]}}
    expanded = [{"class_path": csv, "init_args": {"save_dir": "x"}}, {"class_path": csv}]
    assert names.expand_config(config) == {"trainer": {"logger": expanded}}


@pytest.mark.parametrize(
    ("name", "brings"), [("wandb", 'pip install "vidcore[wandb]"'), ("tensorboard", "pip install tensorboard")]
)
def test_a_logger_that_is_not_installed(installed, capsys, monkeypatch, name, brings):  # noqa: F811
    monkeypatch.setitem(sys.modules, name, None)
    assert main(fit("--trainer.logger", name)) == 2
    assert brings in capsys.readouterr().err


def test_the_documented_sweep_with_the_command_line_that_an_agent_builds(installed, offline, monkeypatch):  # noqa: F811
    text = re.search(r'```yaml title="sweep.yaml"\n(.*?)```', (DOCS / "tracking.md").read_text(), re.DOTALL)[1]
    sweep = yaml.safe_load(text)
    monkeypatch.setenv("WANDB_SWEEP_ID", "abcd1234")
    monkeypatch.setenv("WANDB_PROJECT", "swept")
    chosen = {
        name: part["value"] if "value" in part else part.get("values", [part.get("max")])[-1]
        for name, part in sweep["parameters"].items()
    }
    assert {"model.optim.lr", "model.label_smoothing"} <= set(chosen)
    chosen |= {"model": "mean", "data": "colours", "data.root": "clips", "trainer.max_epochs": 1}
    command = []
    for part in sweep["command"]:
        expanded = {"${env}": ["/usr/bin/env"], "${args}": [f"--{name}={value}" for name, value in chosen.items()]}
        command += expanded.get(part, [part])
    assert command[:3] == ["/usr/bin/env", "vid", "fit"]
    assert main([*command[2:], *COMMON]) == 0
    found = read_back(wandb_files(run(0))[0])
    assert found["project"] == "swept"
    assert found["config"]["config"]["model"]["init_args"]["optim"]["lr"] == chosen["model.optim.lr"]
    assert values(found, sweep["metric"]["name"])
