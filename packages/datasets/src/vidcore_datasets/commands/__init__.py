"""``vid data``: commands that prepare and inspect the files of a data set before training."""

from __future__ import annotations

import importlib

from vidcore.errors import UsageError

COMMANDS = {
    "check": ("vidcore_datasets.commands.check", "decode every file and report the broken ones"),
    "prepare": (
        "vidcore_datasets.commands.prepare",
        "re-encode videos, extract their frames, or write them into shards",
    ),
    "stats": ("vidcore_datasets.commands.stats", "durations, frame rates, sizes and class balance"),
}
"""Module whose ``main(command, argv)`` runs each subcommand, and its line of help."""


def main(command: str, argv: list[str]) -> int:
    """Run a subcommand."""
    if argv[:1] in (["-h"], ["--help"]):
        print(f"usage: vid {command} COMMAND [OPTIONS]\n\ncommands:")
        width = max(map(len, COMMANDS))
        print("".join(f"  {name:{width}}  {text}\n" for name, (_, text) in COMMANDS.items()))
        print(f"vid {command} COMMAND --help lists the options of a command.")
        return 0
    if not argv or argv[0] not in COMMANDS:
        *others, last = COMMANDS
        raise UsageError(f"vid {command} requires a command: {', '.join(others)} or {last}")
    return importlib.import_module(COMMANDS[argv[0]][0]).main(f"{command} {argv[0]}", argv[1:])
