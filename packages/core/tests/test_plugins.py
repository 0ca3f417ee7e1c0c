from __future__ import annotations

import json
import re
import sys
from pathlib import Path

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


def test_state_and_origin_of_every_plugin(fake_plugins, monkeypatch, capsys):
    from vidcore.cli import main

    noisy = "print('imported')\n" + GOOD
    fake_plugins.add("good", {"vidcore.models": {"good": "good_plugin:Model"}}, {"good_plugin": noisy})
    fake_plugins.add("linked", {"vidcore.data": {"linked": "good_plugin:Model"}}, {})
    fake_plugins.add("cloned", {"vidcore.commands": {"cloned": "good_plugin:Model"}}, {})
    fake_plugins.add(
        "broken", {"vidcore.models": {"broken": "broken_plugin:Model"}}, {"broken_plugin": "import no_such_thing"}
    )
    fake_plugins.add("leaver", {"vidcore.models": {"leaver": "leaver_plugin:M"}}, {"leaver_plugin": "raise SystemExit"})
    fake_plugins.add("old", {"vidcore.models": {"old": "old_plugin:Model"}}, {"old_plugin": "class Model: pass"})
    fake_plugins.add("bad", {"vidcore.models": {"Bad": "good_plugin:Model"}}, {})
    for name in ("first", "second"):
        fake_plugins.add(name, {"vidcore.backbones": {"same": "good_plugin:Model"}}, {})
    monkeypatch.setenv("VID_PLUGINS", "good,linked,cloned,broken,leaver,old,bad,first,second")
    for name, noted in {
        "linked": {"url": "file:///home/me/linked", "dir_info": {"editable": True}},
        "cloned": {
            "url": "https://example.org/cloned.git",
            "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"},
        },
        "old": {"url": "file:///tmp/old-1.0-py3-none-any.whl", "archive_info": {}},
    }.items():
        (fake_plugins.folder / f"{name}-1.0.dist-info" / "direct_url.json").write_text(json.dumps(noted))

    assert main(["plugins", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    found = {(row["kind"], row["name"], row["distribution"], row["state"]) for row in rows}
    assert {row for row in found if row[2] != "vidcore"} == {
        ("models", "good", "good", "ok"),
        ("data", "linked", "linked", "ok"),
        ("commands", "cloned", "cloned", "ok"),
        ("models", "broken", "broken", "fails to import"),
        ("models", "leaver", "leaver", "fails to import"),
        ("models", "old", "old", "other API"),
        ("models", "Bad", "bad", "malformed name"),
        ("backbones", "same", "first", "conflict"),
        ("backbones", "same", "second", "conflict"),
    }
    by_name = {row["name"]: row for row in rows}
    assert by_name["linked"]["origin"] == "editable /home/me/linked"
    assert by_name["cloned"]["origin"] == "git+https://example.org/cloned.git@0123456789ab"
    assert by_name["old"]["origin"] == "/tmp/old-1.0-py3-none-any.whl"
    assert by_name["good"]["origin"] == str(fake_plugins.folder)
    assert (by_name["good"]["version"], by_name["good"]["problem"]) == ("1.0", "")
    assert "No module named 'no_such_thing'" in by_name["broken"]["problem"]

    assert main(["plugins"]) == 1
    printed = capsys.readouterr().out
    assert "models old: plugin 'old' (old 1.0) declares no PLUGIN_API" in printed
    monkeypatch.setenv("VID_PLUGINS", "good,linked")
    assert main(["plugins"]) == 0
    assert "imported" not in capsys.readouterr().out
    assert main(["plugins", "--wrong"]) == 2


def test_names_of_one_kind(fake_plugins, monkeypatch, capsys):
    from vidcore.cli import main

    fake_plugins.add("good", {"vidcore.models": {"b": "x:M", "a": "x:M"}, "vidcore.data": {"c": "x:D"}}, {})
    monkeypatch.setenv("VID_PLUGINS", "good")
    assert main(["list", "--names", "models"]) == 0
    assert capsys.readouterr().out == "a\nb\n"


def test_first_party_plugins_are_known_by_their_distribution():
    """Whoever lacks one is told how to install it."""
    packages = Path(__file__).parents[2]
    for path in packages.glob("*/pyproject.toml"):
        text = path.read_text()
        distribution = re.search(r'^name = "(.+)"', text, re.M)[1]
        if distribution == "vidcore":  # nobody lacks it
            continue
        for group, table in re.findall(r'^\[project\.entry-points\."(vidcore\.\w+)"\]\n((?:.+\n)*)', text, re.M):
            for name in re.findall(r"^(\w+) =", table, re.M):
                assert plugins.KNOWN[group][name] == distribution
