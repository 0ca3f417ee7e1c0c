"""Export, engines and streaming of vidcore models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidcore_deploy.api import stream

PLUGIN_API = 1

__all__ = ["PLUGIN_API", "stream"]


def __getattr__(name: str) -> Any:
    """Import ``stream`` with its first use: commands are imported without torch."""
    if name == "stream":
        from vidcore_deploy.api import stream

        return stream
    raise AttributeError(f"module 'vidcore_deploy' has no attribute {name!r}")
