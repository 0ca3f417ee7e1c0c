"""What holds between the packages."""

from __future__ import annotations

import ast
import re
import tokenize
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGES = sorted((ROOT / "packages").glob("*/pyproject.toml"))


def test_all_packages_have_one_version():
    versions = {path.parent.name: re.search(r'^version = "(.+)"', path.read_text(), re.M)[1] for path in PACKAGES}
    assert len(set(versions.values())) == 1, versions


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.parent.name)
def test_siblings_are_required_in_the_range_of_that_version(path):
    text = path.read_text()
    minor = re.search(r'^version = "(\d+\.\d+)', text, re.M)[1]
    major, number = minor.split(".")
    for requirement in re.findall(r'"(vidcore[a-z-]*[<>=][^"]*)"', text):
        assert re.search(rf">={minor},<{major}\.{int(number) + 1}$", requirement), requirement


def code_lines(path: Path) -> int:
    """Lines that hold code: neither blank, nor comment, nor docstring."""
    tree = ast.parse(path.read_text())
    texts = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    with path.open() as file:
        tokens = [token for token in tokenize.generate_tokens(file.readline) if token.type not in silent]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - texts)


def test_core_stays_small_enough_to_read():
    """What plugins build on: all but the commands and their tools, the report of a run, and the conformance suite."""
    core = ROOT / "packages/core/src/vidcore"
    lines = {str(path.relative_to(core)): code_lines(path) for path in core.rglob("*.py")}
    assert max(lines.values()) <= 300, lines
    apart = ("cli", "report", "testing", "tools")
    contracts = sum(count for name, count in lines.items() if not name.startswith(apart))
    assert 1500 < contracts <= 3700, lines


@pytest.mark.parametrize("path", sorted(ROOT.glob("packages/*/src/*/recipes/**/*.yaml")), ids=lambda path: path.name)
def test_recipes_name_installed_plugins(path):
    from vidcore import plugins

    recipe = yaml.safe_load(path.read_text())
    for option, group in (("model", "vidcore.models"), ("data", "vidcore.data")):
        if option in recipe:
            prefix, _, name = recipe[option]["class_path"].rpartition(".")
            assert prefix == group
            assert plugins.find(group, name)
    if "data" in recipe:  # otherwise it is for any data
        assert recipe["data"]["class_path"].endswith(f".{path.stem}")
