"""``vid list``: what is installed. Imports no plugin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vidcore import plugins
from vidcore.cli.parsing import Parser

if TYPE_CHECKING:
    from rich.console import Console

KINDS = {group.rpartition(".")[2]: group for group in plugins.GROUPS}
"""What ``vid list`` calls the entry-point groups."""


def main(command: str, argv: list[str]) -> None:
    """Prints a table, JSON, or the bare names of one kind."""
    parser = Parser(command, "Show what is installed.")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.add_argument("--names", choices=sorted(KINDS), help="print the names of one kind only, one a line")
    arguments = parser.parse_args(argv)
    if arguments.names:
        print("\n".join(plugins.names(KINDS[arguments.names])))
    elif arguments.json:
        print(json.dumps(rows(), indent=2))
    else:
        print_table(["kind", "name", "distribution", "version", "problem"], rows())
        print("".join(f"\n{line}" for line in missing()))


def rows() -> list[dict[str, str]]:
    """One row a plugin: ``kind``, ``name``, ``distribution``, ``version``, and ``problem`` where two claim a name."""
    found = []
    for kind, group in KINDS.items():
        for name, claims in sorted(plugins.claims(group).items()):
            for plugin in claims:
                others = [other.distribution for other in claims if other is not plugin]
                found.append(
                    {
                        "kind": kind,
                        "name": name,
                        "distribution": plugin.distribution,
                        "version": plugin.version,
                        "problem": f"also claimed by {', '.join(others)}" if others else "",
                    }
                )
    return found


def missing() -> list[str]:
    """How to install each first-party distribution that is not there, and what it brings."""
    brings: dict[str, list[str]] = {}
    for group, known in plugins.KNOWN.items():
        for name, distribution in known.items():
            if name not in plugins.claims(group):
                brings.setdefault(distribution, []).append(name)
    return [f"pip install {distribution} brings {', '.join(names)}" for distribution, names in sorted(brings.items())]


def print_table(columns: Sequence[str], found: Sequence[Mapping[str, str]]) -> None:
    """Prints rows under their headings, as wide as they are, so that other programs can read them."""
    cells = [list(columns), *([row[column] for column in columns] for row in found)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def console() -> Console:
    """A console of rich at least 80 characters wide: a narrower table would be cut until nothing is left."""
    from rich.console import Console

    wide = Console()
    wide.width = max(wide.width, 80)
    return wide
