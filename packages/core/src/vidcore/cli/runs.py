"""Folders of runs, ``runs/MODEL_DATA/version_N``: where they are and which to go on with. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcore.cli import configs, names
from vidcore.errors import UsageError

ROOT = "runs"

NAMED = ("best", "last")
"""What ``--ckpt_path`` may say instead of a file."""


def pair(chosen: Mapping[str, str]) -> str:
    """How a run of a model and data is called, ``MODEL_DATA``: by plugin names, or the last parts of class paths."""
    return "_".join(chosen[option].rpartition(".")[2].lower() for option in names.GROUPS if option in chosen) or "run"


def versions(folder: Path) -> list[Path]:
    """The runs in a folder, oldest first."""
    numbered = [path for path in folder.glob("version_*") if path.name.removeprefix("version_").isdigit()]
    return sorted(numbered, key=lambda path: int(path.name.removeprefix("version_")))


def claim(folder: Path) -> Path:
    """Makes the folder of the next run; two that start at the same time get two."""
    while True:
        last = versions(folder)[-1:]
        number = int(last[0].name.removeprefix("version_")) + 1 if last else 0
        try:
            (folder / f"version_{number}").mkdir(parents=True)
        except FileExistsError:
            continue
        return folder / f"version_{number}"


def newest(which: str, argv: Sequence[str], chosen: Mapping[str, str]) -> Path:
    """The checkpoint ``last`` or ``best`` of the newest run of the chosen model and data that has one.

    Runs are looked for where this command line, or a config file that it names, would put a new one.

    Raises:
        UsageError: There is none.
    """
    root = given(argv, "logger.save_dir", "logger.init_args.save_dir", "default_root_dir") or ROOT
    folder = Path(root) / (given(argv, "logger.name", "logger.init_args.name") or pair(chosen))
    found = [run / "checkpoints" / f"{which}.ckpt" for run in versions(folder)]
    existing = [path for path in found if path.is_file()]
    if not existing:
        raise UsageError(f"--ckpt_path {which}: no {which}.ckpt in {folder / 'version_*' / 'checkpoints'}")
    return existing[-1]


def continued(checkpoint: Path, chosen: Mapping[str, str]) -> Path | None:
    """The run that a training from this checkpoint goes on with, or None: it is a new one.

    That is the run whose ``last.ckpt`` it is, unless another model or other data are chosen.
    """
    folder = checkpoint.parent.parent
    config = folder / "config.yaml"
    if checkpoint.name != "last.ckpt" or checkpoint.parent.name != "checkpoints" or not config.is_file():
        return None
    theirs = names.chosen("fit", ["--config", str(config)])
    return folder if {**theirs, **chosen} == theirs else None


def given(argv: Sequence[str], *keys: str) -> str | None:
    """What the arguments, or else the config files among them, say of the trainer's options of these names."""
    found: list[Any] = []
    for source in names.values(argv, ("-c", "--config")):
        for key in keys:
            value: Any = configs.read_config(source)
            for part in ("trainer", *key.split(".")):
                value = value.get(part) if isinstance(value, Mapping) else None
            found.append(value)
    found += names.values(argv, tuple(f"--trainer.{key}" for key in keys))
    return next((str(value) for value in reversed(found) if value is not None), None)
