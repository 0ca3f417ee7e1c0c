"""``vid list``: what is installed."""

from __future__ import annotations

import argparse
import json

from vidcore import plugins


def rows() -> list[dict[str, str]]:
    """One row a plugin: ``kind``, ``name``, ``distribution``, ``version``, and ``problem`` where two claim a name."""
    found = []
    for group in plugins.GROUPS:
        for name, claims in sorted(plugins.claims(group).items()):
            for plugin in claims:
                others = [other.distribution for other in claims if other is not plugin]
                found.append(
                    {
                        "kind": group.rpartition(".")[2],
                        "name": name,
                        "distribution": plugin.distribution,
                        "version": plugin.version,
                        "problem": f"also claimed by {', '.join(others)}" if others else "",
                    }
                )
    return found


def main(command: str, argv: list[str]) -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(prog=f"vid {command}", description="Show what is installed.")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    arguments = parser.parse_args(argv)
    if arguments.json:
        print(json.dumps(rows(), indent=2))
        return
    headings = ["kind", "name", "distribution", "version", "problem"]
    cells = [headings, *([row[heading] for heading in headings] for row in rows())]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headings))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    missing = {
        name: distribution
        for group, known in plugins.KNOWN.items()
        for name, distribution in known.items()
        if name not in plugins.claims(group)
    }
    for distribution in sorted(set(missing.values())):
        brings = ", ".join(name for name, by in missing.items() if by == distribution)
        print(f"\npip install {distribution} brings {brings}", end="")
    print()
