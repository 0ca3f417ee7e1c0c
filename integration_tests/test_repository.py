"""Rules that hold across packages."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import sizes
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


def test_core_stays_small_enough_to_read():
    found = sizes.sizes()
    assert 1500 < found["contracts"] <= 2500, found
    assert found.total() <= 12_300, found


def test_networks_stay_short_enough_to_read():
    """Blank lines and comments count here."""
    lengths = {str(path): len(path.read_text().splitlines()) for path in ROOT.glob("packages/*/src/*/network.py")}
    assert len(lengths) >= 3 and max(lengths.values()) <= 350, lengths


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


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.parent.name)
def test_docstrings_have_no_sphinx_roles(package):
    """mkdocs shows a role such as :func:`x` as it is; [`x`][module.x] links, and ``x`` is plain code."""
    role = re.compile(r":[a-z]+:`[^`]+`")
    sources = sorted((package.parent / "src").rglob("*.py"))
    found = {str(path.relative_to(ROOT)): roles for path in sources if (roles := role.findall(path.read_text()))}
    assert sources and not found


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.parent.name)
def test_cross_references_name_objects_that_exist(package):
    links = re.compile(r"\[`([\w.]+)`\]\[([\w.]*)\]")
    targets = {
        target or text
        for path in (package.parent / "src").rglob("*.py")
        for text, target in links.findall(path.read_text())
    }
    missing = [target for target in sorted(targets) if not names_an_object(target)]
    assert not missing


def names_an_object(target: str) -> bool:
    """Whether a dotted path names a module, an object in one, or what may be an attribute of a class's instances."""
    parts = target.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                return isinstance(found, type) and name == parts[-1]
            found = getattr(found, name)
        return True
    return False
