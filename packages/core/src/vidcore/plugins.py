"""Plugins: found by their entry points' metadata, imported only when they are asked for."""

from __future__ import annotations

import difflib
import functools
import os
import re
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from vidcore.errors import UserError

PLUGIN_API = 1
"""The version of the contracts; a plugin's top package declares the one it was written for as ``PLUGIN_API``."""

GROUPS = ("vidcore.models", "vidcore.data", "vidcore.backbones", "vidcore.commands", "vidcore.primitives")

KNOWN = {
    "vidcore.models": {
        "adafocus": "vidcore-adafocus",
        "adamml": "vidcore-adamml",
        "lsts": "vidcore-lsts",
        "movinet": "vidcore-movinet",
        "movinet_ensemble": "vidcore-movinet",
        "resnet_rs": "vidcore-resnet-rs",
        "resnet_rs_cvrl": "vidcore-resnet-rs",
    },
    "vidcore.backbones": dict.fromkeys(("movinet_a0", "movinet_a1", "movinet_a2"), "vidcore-movinet"),
    "vidcore.commands": {
        "bench": "vidcore-deploy",
        "data": "vidcore-datasets",
        "exits": "vidcore-adafocus",
        "export": "vidcore-deploy",
        "stream": "vidcore-deploy",
    },
    "vidcore.data": dict.fromkeys(
        ("activitynet", "charades", "coco_vid", "csv", "diving48", "fcvid", "folder", "hmdb51", "imagenet_vid",
         "jester", "kinetics400", "kinetics600", "kinetics700", "kinetics_sounds", "mini_kinetics",
         "mini_sports1m", "moments", "moments_multi", "moving_digits", "prepared", "ssv1", "ssv2", "ucf101",
         "unlabelled", "video_list"),
        "vidcore-datasets",
    ),
}  # fmt: skip
"""First-party names and the distribution that brings each, so that a missing one gets its ``pip install``."""


MOVED = {
    "vidcore.checkpoint": "vidcore.weights.checkpoint",
    "vidcore.dataset": "vidcore.reading.dataset",
    "vidcore.index": "vidcore.reading.index",
    "vidcore.optim": "vidcore.training.optim",
    "vidcore.sampler": "vidcore.reading.sampler",
    "vidcore.tools.backbones": "vidcore.backbones",
    "vidcore.tools.export": "vidcore_deploy.export",
    "vidcore.tools.step": "vidcore_deploy.step",
    "vidcore.tools.tensorflow": "vidcore.weights.tensorflow",
}
"""Modules that plugins used under an earlier name."""

NAME = re.compile("[a-z][a-z0-9_]*")
"""What a plugin's name must match."""


class PluginError(UserError):
    """A plugin cannot be had.

    Args:
        text: What is wrong with it.
        state: In a word: ``missing``, ``conflict``, ``malformed name``, ``fails to import`` or ``other API``.
    """

    def __init__(self, text: str, state: str) -> None:
        super().__init__(text)
        self.state = state


@dataclass(frozen=True)
class Plugin:
    """What the metadata say of one plugin."""

    group: str
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    @property
    def package(self) -> str:
        """The top package that the plugin lives in."""
        return self.entry_point.module.partition(".")[0]

    def load(self) -> Any:
        """Imports what the entry point names.

        Raises:
            PluginError: It fails to import, or was written for another plugin API.
        """
        try:
            loaded = self.entry_point.load()
        except (Exception, SystemExit) as error:
            missing = f"{error.name}." if isinstance(error, ModuleNotFoundError) else "none"
            moved = [f"{old} is now {new}" for old, new in MOVED.items() if f"{old}.".startswith(missing)]
            hint = f" ({', '.join(moved)})" if moved else ""
            raise PluginError(
                f"plugin {self.name!r} ({self.distribution} {self.version}) fails to import: "
                f"{type(error).__name__}: {error}{hint}",
                "fails to import",
            ) from error
        declared = getattr(sys.modules[self.package], "PLUGIN_API", None)
        if declared != PLUGIN_API:
            says = "declares no PLUGIN_API" if declared is None else f"is written for plugin API {declared}"
            raise PluginError(
                f"plugin {self.name!r} ({self.distribution} {self.version}) {says}; this vidcore has {PLUGIN_API}: "
                f"set PLUGIN_API = {PLUGIN_API} in {self.package}/__init__.py once it fits",
                "other API",
            )
        return loaded


@functools.cache
def _scan(selected: str | None) -> dict[str, dict[str, list[Plugin]]]:
    allowed = None if selected is None else {name.strip() for name in selected.split(",")}
    found: dict[str, dict[str, list[Plugin]]] = {group: {} for group in GROUPS}
    everything = entry_points()  # reads the metadata of all that is installed, so once for all groups
    for group in GROUPS:
        for entry_point in everything.select(group=group):
            distribution = entry_point.dist
            name = distribution.name if distribution else "?"
            if allowed is not None and name not in {*allowed, "vidcore"}:  # the core's own are always there
                continue
            plugin = Plugin(group, entry_point.name, name, distribution.version if distribution else "?", entry_point)
            claims = found[group].setdefault(plugin.name, [])
            if plugin not in claims:
                claims.append(plugin)
    return found


def claims(group: str) -> dict[str, list[Plugin]]:
    """By name, every installed plugin that claims it: more than one is a conflict. Imports nothing.

    ``VID_PLUGINS`` selects distributions: ``VID_PLUGINS=vidcore-movinet,my-plugin``; empty selects none but the core.
    """
    return _scan(os.environ.get("VID_PLUGINS"))[group]


def names(group: str) -> list[str]:
    """The names that are installed, sorted."""
    return sorted(claims(group))


def find(group: str, name: str) -> Plugin:
    """The plugin of that name, not yet imported.

    Raises:
        PluginError: None, or more than one, claims the name, or the name is malformed.
    """
    kind = group.rpartition(".")[2].rstrip("s")
    found = claims(group).get(name, [])
    if len(found) == 1:
        if not NAME.fullmatch(name):
            whose = f"{kind} plugin name {name!r} of {found[0].distribution}"
            raise PluginError(f"{whose} must match {NAME.pattern}", "malformed name")
        return found[0]
    if found:
        who = " and ".join(
            f"{plugin.distribution} {plugin.version}"
            for plugin in sorted(found, key=lambda plugin: plugin.distribution)
        )
        raise PluginError(
            f"{kind} {name!r} is claimed by {who}: uninstall one, or choose with VID_PLUGINS=…", "conflict"
        )
    text = f"no {kind} named {name!r} is installed"
    known = KNOWN.get(group, {})
    if name in known:
        raise PluginError(f"{text}; this brings it: pip install {known[name]}", "missing")
    near = difflib.get_close_matches(name, {*claims(group), *known}, n=3)
    if near:
        hints = [match if match in claims(group) else f"{match} (pip install {known[match]})" for match in near]
        text += f"; did you mean {' or '.join(hints)}?"
    else:
        text += "."
    raise PluginError(f"{text} Installed: {', '.join(names(group)) or 'none'}.", "missing")


def load(group: str, name: str) -> Any:
    """The class or function behind a name.

    Raises:
        PluginError: See [`find`][vidcore.plugins.find] and [`Plugin.load`][vidcore.plugins.Plugin.load].
    """
    return find(group, name).load()
