"""``vid weights``: what was published for a model; others' weights as a safetensors file of ours."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vidcore.cli.listing import print_table
from vidcore.cli.parsing import ModelParser, load_model
from vidcore.errors import UsageError
from vidcore.writing import replacing

if TYPE_CHECKING:
    from vidcore.module import VideoModule


def main(command: str, argv: list[str]) -> None:
    """``list`` or ``convert``."""
    actions = {"list": list_weights, "convert": convert}
    if argv[:1] in (["-h"], ["--help"]):
        print(
            f"usage: vid {command} COMMAND [OPTIONS]\n\ncommands:\n"
            "  list     the weights that were published for a network\n"
            "  convert  others' weights as a safetensors file of ours\n\n"
            f"vid {command} COMMAND --help tells a command's options."
        )
        return
    if not argv or argv[0] not in actions:
        raise UsageError(
            f"vid {command} list --model NAME, or vid {command} convert SOURCE TARGET.safetensors --model NAME"
        )
    actions[argv[0]](f"{command} {argv[0]}", argv[1:])


def list_weights(command: str, argv: list[str]) -> None:
    """Prints a row a set of weights."""
    parser = ModelParser(command, "Show the weights that were published for a network: --model NAME --model.variant …")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    arguments = parser.parse(argv)
    found = _model(arguments).published_weights()
    rows = [
        {
            "name": name,
            "classes": len(weights.classes),
            **weights.metrics,
            **weights.options,
            "sha256": weights.sha256 or None,
            "pinned_by": weights.pinned_by,
            "url": weights.url,
        }
        for name, weights in found.items()
    ]
    loose = ", ".join(name for name, weights in found.items() if weights.pinned_by == "nothing")
    if loose:
        print(
            f"vid: {loose}: neither a checksum nor a revision fixes what the address gives; the checksum of the first "
            "download is kept beside it, and later downloads must have the same",
            file=sys.stderr,
        )
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print_table(
            list(rows[0]),
            [{key: "none" if value is None else str(value) for key, value in row.items()} for row in rows],
        )
    else:
        print("no weights were published for this network")


def convert(command: str, argv: list[str]) -> None:
    """Writes a safetensors file."""
    parser = ModelParser(
        command,
        "Turn weights that were published for a network, or that others' code saved for it, into a safetensors file "
        "that --model.weights and --weights take: --model NAME --model.variant …; with --classes if they are for "
        "another number of classes than the model's published figures",
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="a name of vid weights list, or a file that the model can read"
    )
    parser.add_argument("target", metavar="TARGET.safetensors", help="the file to write")
    arguments = parser.parse(argv)
    target = Path(arguments.target)
    if target.suffix != ".safetensors":
        raise UsageError(f"{target} must end with .safetensors")
    model = _model(arguments)
    untrained = model.load_weights(arguments.source)
    if untrained:
        published = model.published_weights().get(arguments.source)
        theirs = len(model.read_weights(published.fetch() if published else arguments.source)[untrained[0]])
        raise UsageError(
            f"{arguments.source} has {theirs} classes, the model {model.task.num_classes}: "
            f"add --classes {theirs}, or --classes FILE with their names, one a line"
        )
    from safetensors.torch import save_file

    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, part)
    print(f"{target}: {model.num_parameters():,} parameters")


def _model(arguments: argparse.Namespace) -> VideoModule:
    if arguments.ckpt_path is not None or arguments.weights is not None:
        raise UsageError("name the network with --model NAME and its options alone")
    return load_model(arguments)
