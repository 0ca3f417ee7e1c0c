from __future__ import annotations

import sys

import pytest

import vidcore
from vidcore import plugins

GOOD = "PLUGIN_API = 1\nclass Model: pass\n"


def test_a_plugin_is_imported_only_when_asked_for(fake_plugins):
    fake_plugins.add("my-plugin", {"vidcore.models": {"mine": "my_plugin_a:Model"}}, {"my_plugin_a": GOOD})
    assert "mine" in plugins.names("vidcore.models")
    assert "my_plugin_a" not in sys.modules
    assert plugins.load("vidcore.models", "mine").__name__ == "Model"


def test_alias_module_is_an_importable_class_path(fake_plugins):
    fake_plugins.add("my-plugin", {"vidcore.models": {"mine": "my_plugin_b:Model"}}, {"my_plugin_b": GOOD})
    assert vidcore.models.mine is sys.modules["my_plugin_b"].Model
    assert "mine" in dir(vidcore.models)
    with pytest.raises(AttributeError, match="no model named 'nobody'"):
        _ = vidcore.models.nobody


def test_a_broken_plugin_is_reported_by_name_and_harms_no_other(fake_plugins):
    fake_plugins.add(
        "broken", {"vidcore.models": {"broken": "broken_plugin:Model"}}, {"broken_plugin": "import nothing_x"}
    )
    fake_plugins.add("good", {"vidcore.models": {"good": "good_plugin:Model"}}, {"good_plugin": GOOD})
    assert plugins.load("vidcore.models", "good")
    with pytest.raises(plugins.PluginError, match=r"'broken' \(broken 1\.0\) fails to import: ModuleNotFoundError"):
        plugins.load("vidcore.models", "broken")


def test_two_that_claim_one_name_are_refused_and_both_named(fake_plugins):
    for name in ("first", "second"):
        fake_plugins.add(name, {"vidcore.models": {"same": f"{name}_plugin:Model"}}, {f"{name}_plugin": GOOD})
    with pytest.raises(plugins.PluginError, match=r"'same' is claimed by first 1\.0 and second 1\.0"):
        plugins.find("vidcore.models", "same")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class Model: pass", "declares no PLUGIN_API"),
        ("PLUGIN_API = 99\nclass Model: pass", "written for plugin API 99"),
    ],
)
def test_the_plugin_api_is_checked(fake_plugins, text, says):
    fake_plugins.add("old", {"vidcore.models": {"old": "old_plugin:Model"}}, {"old_plugin": text})
    with pytest.raises(plugins.PluginError, match=says):
        plugins.load("vidcore.models", "old")


def test_environment_selects_distributions(fake_plugins, monkeypatch):
    for name in ("first", "second"):
        fake_plugins.add(name, {"vidcore.models": {name: f"{name}_plugin:Model"}}, {f"{name}_plugin": GOOD})
    monkeypatch.setenv("VID_PLUGINS", "second")
    assert plugins.names("vidcore.models") == ["second"]
    monkeypatch.setenv("VID_PLUGINS", "")
    assert plugins.names("vidcore.models") == []


def test_unknown_names_get_the_nearest_and_known_ones_their_install(fake_plugins, monkeypatch):
    fake_plugins.add("good", {"vidcore.models": {"goodnet": "good_plugin:Model"}}, {"good_plugin": GOOD})
    with pytest.raises(plugins.PluginError, match="did you mean goodnet"):
        plugins.find("vidcore.models", "godnet")
    monkeypatch.setenv("VID_PLUGINS", "")
    with pytest.raises(plugins.PluginError, match="pip install vidcore-adafocus"):
        plugins.find("vidcore.models", "adafocus")
    with pytest.raises(plugins.PluginError, match="pip install vidcore-adafocus"):
        plugins.find("vidcore.models", "adafocsu")


def test_a_malformed_name_is_refused(fake_plugins):
    fake_plugins.add("bad", {"vidcore.models": {"Bad-Name": "bad_plugin:Model"}}, {"bad_plugin": GOOD})
    with pytest.raises(plugins.PluginError, match=r"must match \[a-z\]"):
        plugins.find("vidcore.models", "Bad-Name")
