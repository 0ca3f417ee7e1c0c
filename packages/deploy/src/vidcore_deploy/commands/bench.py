"""``vid bench``: latency, throughput and memory of a model, and executed against counted MACs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidcore.cli.listing import console
from vidcore.cli.parsing import ModelParser, load_model, whole_in
from vidcore.files import expand_paths

AGREE = 1e-3
"""How far executed MACs may be from the counted ones, relatively, without a word about it."""


def main(command: str, argv: list[str]) -> None:
    """Prints a table, or JSON."""
    count = whole_in("[1, 1000000]")
    parser = ModelParser(command, "Measure what a model takes to decode and to compute, and the MACs that really run.")
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="files, folders or globs; none: one is made")
    parser.add_argument("--batch_size", type=count, default=8, metavar="N", help="clips a batch, beside 1 (8)")
    parser.add_argument("--repeats", type=count, default=20, metavar="R", help="measurements, after warm-up (20)")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--output", metavar="FILE.json", help="where to write JSON too")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse(argv)
    paths = expand_paths(arguments.videos)
    trained = arguments.ckpt_path or arguments.weights
    model = load_model(arguments)

    from vidcore_deploy.bench import bench, device_of

    device = device_of(arguments.accelerator)
    report = bench(model, paths, batch_size=arguments.batch_size, repeats=arguments.repeats, device=device)
    report["weights"] = str(trained or model.weights or "as initialised")
    text = json.dumps(report, indent=2)
    if arguments.output:
        Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
        Path(arguments.output).write_text(text + "\n", encoding="utf-8")
    if arguments.json:
        print(text)
    else:
        show(report)


def show(report: dict[str, Any]) -> None:
    """The report as a table, and a line on the MACs."""
    from rich.table import Table

    clip = report["clip"]
    rate = f"{clip['fps']:g} fps" if clip["fps"] else f"stride {clip['stride']}"
    table = Table(
        title=f"{report['model']}: {clip['segments']} × {clip['frames']} frames, {rate}, {clip['size']}²",
    )
    for column in ("", "median ms", "p95 ms", "clips/s", "peak MB"):
        table.add_column(column, justify="right" if column else "left")
    rows = [("decode, one process", report["decode"])]
    rows += [(f"compute, batch of {row['batch_size']}", row) for row in report["compute"]]
    for name, row in rows:
        memory = f"{row['peak_memory_mb']:,.0f}" if "peak_memory_mb" in row else ""
        table.add_row(
            name, f"{row['median_ms']:,.2f}", f"{row['p95_ms']:,.2f}", f"{row['clips_per_second']:,.1f}", memory
        )
    console().print(table)
    print(f"device: {report['device']}, {report['threads']} threads, torch {report['versions']['torch']}")
    print(f"parameters: {report['parameters']:,}")
    print(f"weights: {report['weights']}")
    print(f"clips: {report['videos']}")
    print(f"peak memory: {report['memory']}")
    print(f"MACs: {verdict(**report['macs'])}")


def verdict(executed: float, counted: float, ratio: float | None) -> str:
    """Whether the model ran what it says, in one sentence."""
    figures = f"{executed / 1e9:,.6g} GMACs a clip executed, {counted / 1e9:,.6g} counted"
    if ratio is None:
        return f"{figures}: the model names no component with a cost" if executed else f"{figures}: nothing to count"
    if abs(ratio - 1) <= AGREE:
        return f"{figures}, ratio {ratio:.4f}: they agree"
    which = "more than" if ratio > 1 else "less than"
    return f"{figures}, ratio {ratio:.4f}: THEY DIFFER, the model ran {which} its usage says"
