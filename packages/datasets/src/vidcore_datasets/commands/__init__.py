"""``vid data``: what there is to do with a data set's files before a training."""

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
"""Name to the module whose ``main(command, argv)`` runs it, and its line of help."""


def main(command: str, argv: list[str]) -> int:
    """Runs one of the subcommands."""
    if argv[:1] in (["-h"], ["--help"]):
        print(f"usage: vid {command} COMMAND [OPTIONS]\n\ncommands:")
        width = max(map(len, COMMANDS))
        print("".join(f"  {name:{width}}  {text}\n" for name, (_, text) in COMMANDS.items()))
        print(f"vid {command} COMMAND --help tells a command's options.")
        return 0
    if not argv or argv[0] not in COMMANDS:
        *others, last = COMMANDS
        raise UsageError(f"vid {command} has the commands {', '.join(others)} and {last}: vid {command} check PATH…")
    return importlib.import_module(COMMANDS[argv[0]][0]).main(f"{command} {argv[0]}", argv[1:])
