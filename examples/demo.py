"""Complete workflow on generated videos: render, train, test, predict, draw. Prints each command and its results.

Run `nox -s demo`, or `python examples/demo.py [FOLDER]` with vidcore-movinet installed.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table


def vid(*arguments: str) -> None:
    """Print a `vid` command and run it."""
    Console().print(f"\n[bold]$ vid {' '.join(arguments)}[/bold]", highlight=False)
    subprocess.run([sys.executable, "-m", "vidcore.cli", *arguments], check=True)  # noqa: S603


def main() -> None:
    """Train MoViNet-A0 on ten moving digits; the class is the digit, so chance is 10 %."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    start = time.perf_counter()
    logger = ["--trainer.logger.class_path", "CSVLogger", "--trainer.logger.save_dir", str(folder)]
    data = ["--data", "moving_digits", "--data.root", str(folder / "moving_digits")]
    vid("fit", "--model", "movinet", *data, *logger, "--trainer.logger.name", "fit")
    run = max((folder / "fit").glob("version_*"), key=lambda path: path.stat().st_mtime)
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    vid("test", "--ckpt_path", checkpoint, *logger, "--trainer.logger.name", "test")
    clips = sorted(str(path) for path in (folder / "moving_digits").rglob("test/*.mp4"))[:10]
    rows = folder / "predictions.jsonl"
    vid("predict", *clips, "--ckpt_path", checkpoint, "--output", str(rows), "--render", str(folder / "rendered"))

    tested = max((folder / "test").glob("version_*"), key=lambda path: path.stat().st_mtime)
    with (tested / "metrics.csv").open() as file:
        result = {name: float(value) for name, value in next(csv.DictReader(file)).items()}
    table = Table(title="MoViNet-A0 on moving digits, test split (chance 10 %)")
    for column in ("top-1", "GMACs per video", "ms per video", "peak memory MB", "whole demo"):
        table.add_column(column, justify="right")
    table.add_row(
        f"{100 * result['test/top1']:.1f} %",
        f"{result['test/gmacs']:.4f}",
        f"{result['test/ms']:.1f}",
        f"{result['test/peak_memory_mb']:.0f}",
        f"{(time.perf_counter() - start) / 60:.1f} min",
    )
    console = Console()
    console.print(table)
    for row in map(json.loads, rows.read_text().splitlines()):
        best = row["top"][0]
        console.print(f"{Path(row['path']).name}: {best['class']} ({best['score']:.2f}), rendered to {row['rendered']}")


if __name__ == "__main__":
    main()
