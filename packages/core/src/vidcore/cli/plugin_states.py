"""``vid plugins``: version, origin and state of every plugin. To know the state it imports each."""

from __future__ import annotations

import contextlib
import json
import sys
from importlib.metadata import Distribution

from vidcore import plugins
from vidcore.cli.listing import print_table
from vidcore.cli.parsing import Parser


def main(command: str, argv: list[str]) -> int:
    """Prints a table, or JSON; the exit status is 1 if any plugin is in another state than ``ok``."""
    parser = Parser(command, "Import every plugin and show its version, origin and state; exit status 1 if one is bad.")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    arguments = parser.parse_args(argv)
    found = rows()
    bad = [row for row in found if row["state"] != "ok"]
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print_table(["kind", "name", "distribution", "version", "state", "origin"], found)
        print("".join(f"\n{row['kind']} {row['name']}: {row['problem']}" for row in bad))
    return 1 if bad else 0


def rows() -> list[dict[str, str]]:
    """One row a plugin: ``kind``, ``name``, ``distribution``, ``version``, ``origin``, ``state`` and ``problem``."""
    found = []
    for group in plugins.GROUPS:
        for name, claims in sorted(plugins.claims(group).items()):
            for plugin in claims:
                state, problem = state_of(plugin)
                found.append(
                    {
                        "kind": group.rpartition(".")[2],
                        "name": name,
                        "distribution": plugin.distribution,
                        "version": plugin.version,
                        "origin": origin(plugin.entry_point.dist),
                        "state": state,
                        "problem": problem,
                    }
                )
    return found


def state_of(plugin: plugins.Plugin) -> tuple[str, str]:
    """``ok`` and nothing, or what is wrong with a plugin in a word and in full."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints when imported is no part of the table
            plugins.find(plugin.group, plugin.name).load()
    except plugins.PluginError as error:
        return error.state, str(error)
    return "ok", ""


def origin(distribution: Distribution | None) -> str:
    """Where a distribution was installed from, as its installer noted it, or else where it is."""
    if distribution is None:
        return "?"
    noted = json.loads(distribution.read_text("direct_url.json") or "{}")
    url = str(noted.get("url", "")).removeprefix("file://")
    if "vcs_info" in noted:
        return f"{noted['vcs_info']['vcs']}+{url}@{noted['vcs_info']['commit_id'][:12]}"
    if noted.get("dir_info", {}).get("editable"):
        return f"editable {url}"
    return url or str(distribution.locate_file(""))
