"""Pages from templates."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment


def rendered(template: str, **values: Any) -> str:
    """A template of this package, filled in and in this package's style."""
    texts = {
        name: files("vidcore.report").joinpath(name).read_text(encoding="utf-8") for name in (template, "style.css")
    }
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(texts[template]).render(style=texts["style.css"], **values)
