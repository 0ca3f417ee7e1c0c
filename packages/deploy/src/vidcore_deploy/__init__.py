"""Export, engines and streaming of vidcore models."""

PLUGIN_API = 1

__all__ = ["PLUGIN_API"]
