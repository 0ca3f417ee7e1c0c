"""``vid flops``: what a model costs, by component, before anything is trained."""

from __future__ import annotations

import json
from typing import Any

from vidcore.cli.listing import console
from vidcore.cli.parsing import ModelParser, load_model


def main(command: str, argv: list[str]) -> None:
    """Prints a table, or JSON."""
    parser = ModelParser(command, "Count parameters and MACs of a model.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse(argv)
    model = load_model(arguments)
    if arguments.json:
        print(json.dumps(report(model), indent=2))
    else:
        show(model)


def report(model: Any) -> dict[str, Any]:
    """Parameters and MACs by component, in total, as published, and of the method's other models."""
    from vidcore.flops import parameters

    return {
        "components": {
            name: {
                "parameters": parameters(part),
                "gmacs": model.costs()[name] / 1e9,
                "runs": model.calls_per_clip().get(name, 1),
            }
            for name, (part, _) in model.components().items()
        },
        "parameters": model.num_parameters(),
        "gmacs": model.macs_per_clip() / 1e9,
        "published": model.published(),
        "family": model.family(),
    }


def show(model: Any) -> None:
    """The report as a table."""
    from rich.table import Table

    from vidcore.flops import cost_table

    spec = model.clip_spec
    rate = f"{spec.fps:g} fps" if spec.fps else f"stride {spec.stride}"
    title = f"{spec.segments} × {spec.frames} frames, {rate}, {spec.size}², {model.task.num_classes} classes"
    wide = console()
    parts = {name: (part, model.costs()[name]) for name, (part, _) in model.components().items()}
    wide.print(cost_table(title, parts, model.calls_per_clip() or None, model.num_parameters()))
    for name, value in model.published().items():
        unit = {"gmacs": "GFLOPs (MACs)"}.get(name, name)
        wide.print(f"published: {value:,g} {unit}" if name == "gmacs" else f"published: {unit} {value:,}")
    if family := model.family():
        headings = (_HEADINGS.get(name, name) for name in family[0])
        classes = model.reference(**model.hparams).num_classes
        table = Table(*headings, title=f"the family, {classes} classes")
        for row in family:
            table.add_row(*(_figure(value) for value in row.values()))
        wide.print(table)


_HEADINGS = {
    "parameters": "params (M)",
    "gmacs": "GMACs",
    "gmacs_frame": "GMACs a frame",
    "state_bytes": "state (MB)",
    "published_gmacs": "quoted",
    "top1": "top-1 (%)",
    "map": "mAP (%)",
}


def _figure(value: Any) -> str:
    """A number as people read it."""
    if isinstance(value, int) and value > 1_000_000:
        return f"{value / 1e6:.2f}"
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)
