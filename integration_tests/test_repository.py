"""Rules that hold across packages."""

from __future__ import annotations

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
