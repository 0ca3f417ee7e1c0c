"""``vid flops``: what a model costs, by component, before anything is trained."""

from __future__ import annotations

import json
from typing import Any

from vidcore.cli import UsageError, names


def main(command: str, argv: list[str]) -> None:
    """Prints a table, or JSON."""
    names.expand_environment(command)
    arguments = names.expand_arguments(argv)
    given = {argument.partition("=")[0] for argument in arguments}
    if not given & {"--model", "--model.class_path", "--model.help", "--ckpt_path", "--config", "-c", "--help", "-h"}:
        known = names.installed("model")
        raise UsageError(f"vid {command} needs --model NAME or --ckpt_path FILE; installed: {known}")

    from vidcore.cli.parser import VidParser
    from vidcore.module import VideoModule
    from vidcore.task import Task

    parser = VidParser(prog=f"vid {command}", description="Count parameters and MACs of a model.")
    parser.add_argument("-c", "--config", action="config", help="a config file with a model part")
    parser.add_argument("--ckpt_path", type=str, default=None, help="a checkpoint, in place of a model")
    parser.add_argument("--num_classes", type=int, default=None, help="default: as the method's published figures")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_subclass_arguments(VideoModule, "model", skip={"task"}, required=False)

    def instantiate(cls: type[VideoModule], *args: Any, **kwargs: Any) -> VideoModule:
        task = Task.numbered(config.num_classes) if config.num_classes else cls.reference_task
        return cls(task, *args, **kwargs)

    parser.add_instantiator(instantiate, VideoModule, subclasses=True)
    config = parser.parse_args(argv)
    if config.ckpt_path:
        from vidcore.checkpoint import load_module

        model = load_module(config.ckpt_path)
    else:
        model = parser.instantiate_classes(config).model
    if config.json:
        print(json.dumps(report(model), indent=2))
    else:
        show(model)


def report(model: Any) -> dict[str, Any]:
    """Parameters and MACs by component, in total, and as published."""
    from vidcore.flops import parameters

    return {
        "components": {
            name: {"parameters": parameters(part), "gmacs": model.costs()[name] / 1e9}
            for name, (part, _) in model.components().items()
        },
        "parameters": parameters(model),
        "gmacs": sum(model.costs().values()) / 1e9,
        "published": model.published(),
    }


def show(model: Any) -> None:
    """The report as a table."""
    from rich.console import Console

    from vidcore.flops import cost_table

    spec = model.clip_spec
    rate = f"{spec.fps:g} fps" if spec.fps else f"stride {spec.stride}"
    title = f"{spec.segments} × {spec.frames} frames, {rate}, {spec.size}², {model.task.num_classes} classes"
    console = Console()
    console.print(
        cost_table(title, {name: (part, model.costs()[name]) for name, (part, _) in model.components().items()})
    )
    for name, value in model.published().items():
        unit = {"gmacs": "GFLOPs (MACs)"}.get(name, name)
        console.print(f"published: {value:,g} {unit}" if name == "gmacs" else f"published: {unit} {value:,}")
