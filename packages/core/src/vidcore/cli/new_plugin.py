"""``vid plugin new NAME``: writes a plugin that works, with its tests."""

from __future__ import annotations

import argparse
import string
from pathlib import Path

from vidcore import __version__, plugins
from vidcore.cli.parsing import Parser
from vidcore.errors import UsageError

TEMPLATE = Path(__file__).parent / "template"
FILES = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "src/$package/__init__.py": "src/__init__.py.txt",
    "tests/test_conformance.py": "tests/test_conformance.py.txt",
}
"""What is written, and the template that it is made from."""


def main(command: str, argv: list[str]) -> None:
    """Writes the files and says what to do next."""
    parser = Parser(f"{command} new", "Write a model plugin that trains, predicts and passes the conformance suite.")
    parser.usage = "vid plugin new NAME [--path DIR]"
    parser.add_argument("action", choices=["new"], metavar="new", help=argparse.SUPPRESS)
    parser.add_argument("name", metavar="NAME", help="what users will type after --model: [a-z][a-z0-9_]*")
    parser.add_argument(
        "--path", metavar="DIR", help="the folder to write, which must not exist; default: vidcore-NAME"
    )
    arguments = parser.parse_args(argv)
    refuse_taken(arguments.name)
    folder = Path(arguments.path or distribution(arguments.name))
    if folder.exists():
        raise UsageError(f"{folder} exists; choose another with --path DIR")
    written = write(arguments.name, folder)
    print("\n".join(f"wrote {path}" for path in written))
    print(f'next:\n  cd {folder}\n  pip install -e ".[test]"\n  python -m pytest')


def refuse_taken(name: str) -> None:
    """Refuses a name that is malformed, installed, or a first-party model's.

    Raises:
        UsageError: It is.
    """
    if not plugins.NAME.fullmatch(name):
        raise UsageError(f"a plugin's name must match {plugins.NAME.pattern}, and {name!r} does not")
    installed = plugins.claims("vidcore.models").get(name)
    owner = installed[0].distribution if installed else plugins.KNOWN["vidcore.models"].get(name)
    if owner is not None:
        raise UsageError(f"a model named {name!r} exists: {owner} brings it; choose another name")


def distribution(name: str) -> str:
    """What the distribution that brings a model of this name is called."""
    return f"vidcore-{name.replace('_', '-')}"


def write(name: str, folder: Path) -> list[Path]:
    """Writes the plugin's files.

    Args:
        name: The model's name.
        folder: Where; made if need be.

    Returns:
        The files.
    """
    major, minor = map(int, __version__.split(".")[:2])
    values = {
        "name": name,
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "package": f"vidcore_{name}",
        "distribution": distribution(name),
        "range": f">={major}.{minor},<{major}.{minor + 1}",
    }
    written = []
    for target, template in FILES.items():
        path = folder / string.Template(target).substitute(values)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = string.Template((TEMPLATE / template).read_text(encoding="utf-8")).substitute(values)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
