"""HTML pages from templates."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment


def rendered(package: str, template: str, **values: Any) -> str:
    """Render a template of a package with the style sheet of reports."""
    text = files(package).joinpath(template).read_text(encoding="utf-8")
    style = files("vidcore.report").joinpath("style.css").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text).render(style=style, **values)
