"""Start-up time of `vid` commands that need no torch: help, lists, versions and usage errors.

Prints a Markdown table of each command's time as a share of a bare LightningCLI's `--help`, without and with fifty more
plugins installed. All are measured alternately in one run; only the ratios are meaningful. Exits with 1 if a share is
above a tenth.

    python benchmarks/startup.py [REPETITIONS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 0.1
PLUGINS = 50

BARE = """\
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

if __name__ == "__main__":
    LightningCLI(BoringModel, BoringDataModule)
"""

FIT = "fit --model movinet --data moving_digits"
COMMANDS = {
    "--help": 0,
    "--version": 0,
    "list": 0,
    "completion bash": 0,
    "nonsense": 2,
    "list --wrong": 2,
    "plugin new 9lives": 2,
    "fit": 2,
    "fit --modle movinet": 2,
    "fit --model movient --data moving_digits": 2,
    "fit --model movinet --data folder": 2,
    f"{FIT} --trainer.max_epoch 3": 2,
    f"{FIT} --model.varint a2": 2,
    f"{FIT} --model.optim.lrr 1": 2,
    f"{FIT} --data.rot x": 2,
    f"{FIT} --config missing.yaml": 2,
    "test --ckpt_path missing.ckpt": 2,
    "predict missing.mp4 --ckpt_path missing.ckpt": 2,
    "bench --model movinet --model.varint a2": 2,
    "export --model movinet": 2,
    "data check missing.mp4": 2,
    "plugins --wrong": 2,
    "flops": 2,
}
"""Command lines of `vid` and their exit statuses."""


def seconds(command: list[str], folder: Path, status: int, path: Path | None = None) -> float:
    """Return the run time of a command, optionally with another folder on the path."""
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    taken = time.perf_counter() - start
    if done.returncode != status or "Traceback" in done.stderr:
        sys.exit(f"{' '.join(command)} gave {done.returncode}, not {status}:\n{done.stderr}")
    return taken


def install_plugins(folder: Path) -> None:
    """Write installed distributions, each with a model, a data set and a long description."""
    for number in range(PLUGINS):
        info = folder / f"vidcore_more{number}-1.0.dist-info"
        info.mkdir()
        described = "A plugin.\n" * 300
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: vidcore-more{number}\nVersion: 1.0\n\n{described}", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            f"[vidcore.models]\nmore{number} = vidcore_more{number}:Model\n\n"
            f"[vidcore.data]\nmore{number} = vidcore_more{number}:Data\n"
        )
        (folder / f"vidcore_more{number}.py").write_text("raise RuntimeError('imported')\n")


def main() -> int:
    """Measure and print the table."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    script = Path(sys.executable).parent / ("vid.exe" if os.name == "nt" else "vid")
    with tempfile.TemporaryDirectory() as name:
        folder, more = Path(name), Path(name) / "more"
        more.mkdir()
        install_plugins(more)
        (folder / "bare.py").write_text(BARE)
        bare = [sys.executable, str(folder / "bare.py"), "--help"]
        ways = {"vid": [str(script)], "python -m vidcore.cli": [sys.executable, "-m", "vidcore.cli"]}
        bares: list[float] = []
        taken: dict[tuple[str, str, bool], list[float]] = {}
        for _ in range(repetitions):
            bares.append(seconds(bare, folder, 0))
            for way, program in ways.items():
                for command, status in COMMANDS.items():
                    for fifty in (False, True):
                        line = [*program, *command.split()]
                        measured = seconds(line, folder, status, more if fifty else None)
                        taken.setdefault((way, command, fifty), []).append(measured)
    base = statistics.median(bares)
    share = {key: statistics.median(values) / base for key, values in taken.items()}
    print(f"Shares of a bare LightningCLI's `--help`, {base:.1f} s in this run; medians of {repetitions}.\n")
    headings = ["command", *(heading for way in ways for heading in (f"`{way}`", f"with {PLUGINS} more plugins"))]
    print(f"| {' | '.join(headings)} |\n| --- |{' ---: |' * (len(headings) - 1)}")
    for command in COMMANDS:
        cells = [f"{share[way, command, fifty]:.3f}" for way in ways for fifty in (False, True)]
        print(f"| `vid {command}` | {' | '.join(cells)} |")
    worst = max(share, key=lambda key: share[key])
    print(f"\nLargest: {share[worst]:.3f}, of `vid {worst[1]}`; at most {LIMIT} is wanted.")
    return int(share[worst] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
