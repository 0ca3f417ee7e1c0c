"""Installed data sets by name.

``vidcore.data.NAME`` is the class behind entry point NAME, and its class path in configs and checkpoints.
"""

from __future__ import annotations

from typing import Any

from vidcore import plugins


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return plugins.load("vidcore.data", name)
    except plugins.PluginError as error:
        raise AttributeError(str(error)) from error


def __dir__() -> list[str]:
    return plugins.names("vidcore.data")
