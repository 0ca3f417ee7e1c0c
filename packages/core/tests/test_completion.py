from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vidcore.cli import COMMANDS, main
from vidcore.cli.completion import SCRIPTS, candidates

MODEL = """
PLUGIN_API = 1
class Model:
    def __init__(self, task, depth: int = 1, width: int = 2): ...
"""


@pytest.fixture
def installed(fake_plugins, monkeypatch):
    fake_plugins.add(
        "vidcore-complete",
        {
            "vidcore.models": {"alpha": "vid_complete:Model", "alpine": "vid_complete:Model"},
            "vidcore.data": {"beta": "vid_complete:Model"},
            "vidcore.commands": {"hello": "vid_complete:Model"},
        },
        {"vid_complete": MODEL},
    )
    monkeypatch.setenv("VID_PLUGINS", "vidcore-complete")
    return fake_plugins


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [*COMMANDS, "hello"]),
        ([""], [*COMMANDS, "hello"]),
        (["he"], ["hello"]),
        (["fit", "--model", ""], ["alpha", "alpine"]),
        (["fit", "--model", "alph"], ["alpha"]),
        (["fit", "--model.help", "alp"], ["alpha", "alpine"]),
        (["fit", "--model=alph"], ["--model=alpha"]),
        (["fit", "--model", "=", "alph"], ["alpha"]),
        (["fit", "--model", "="], ["alpha", "alpine"]),
        (["fit", "--model", "alpha", "--data", ""], ["beta"]),
        (["flops", "--model", "alp"], ["alpha", "alpine"]),
        (["fit", "--ck"], ["--ckpt_path"]),
        (["fit", "--ckpt_path", ""], []),
        (["fit", "--verb"], []),
        (["test", "--verb"], ["--verbose"]),
        (["fit", "--mod"], ["--model", "--model."]),
        (["fit", "--model", "alpha", "--model.d"], ["--model.depth"]),
        (["fit", "--model", "nobody", "--model.d"], []),
        (["fit", "--model.d"], []),
        (["fit", "--trainer.max_"], ["--trainer.max_epochs", "--trainer.max_steps", "--trainer.max_time"]),
        (["flops", "--js"], ["--json"]),
        (["flops", "--model", "alpha", "--model.w"], ["--model.width"]),
        (["predict", "clip"], []),
        (["plugin", ""], ["new"]),
        (["data", ""], ["check", "prepare", "stats"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["hello", "--"], []),
    ],
)
def test_what_may_stand_for_the_last_word(installed, words, expected):
    assert candidates(words) == expected


def test_the_scripts_ask_for_the_words(installed, capsys):
    for shell, script in SCRIPTS.items():
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out == script
    assert main(["completion", "words", "fit", "--model", "--help"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["completion", "words", "fit", "--data", ""]) == 0
    assert capsys.readouterr().out == "beta\n"
    assert main(["completion", "csh"]) == 2


def vid(folder: Path) -> Path:
    """A ``vid`` of this very Python, in case no script is installed."""
    script = folder / "vid"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vidcore.cli "$@"\n')
    script.chmod(0o755)
    return script


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fit --model al", "alpha alpine"),
        ("fit --data = be", "beta"),
        ("hel", "hello"),
        ("fit --ckpt_path ''", ""),
        ("fit --trainer.max_ep", "--trainer.max_epochs"),
    ],
)
def test_bash_completes(installed, tmp_path, monkeypatch, words, expected):
    monkeypatch.setenv("PYTHONPATH", str(installed.folder))
    program = f"""
        {SCRIPTS["bash"]}
        COMP_WORDS=({vid(tmp_path)} {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _vid 2>{tmp_path}/errors; echo "${{COMPREPLY[*]}}"; complete -p vid
    """
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == [expected, "complete -o default -F _vid vid"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_valid(shell):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    done = subprocess.run([shell, "-n"], input=SCRIPTS[shell], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
def test_fish_completes(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(installed.folder))
    monkeypatch.setenv("PATH", str(vid(tmp_path).parent), prepend=":")
    program = SCRIPTS["fish"] + 'complete -C "vid fit --model al"\n'
    done = subprocess.run(["fish", "--no-config", "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["alpha", "alpine"], done.stderr


def test_commands_of_plugins_complete_their_options(installed, monkeypatch):
    monkeypatch.setenv("VID_PLUGINS", "vidcore-complete,vidcore-datasets")
    assert candidates(["data", "prepare", "--s"]) == ["--shard_mb", "--short_side"]
    assert candidates(["data", "check", "--s"]) == []
    assert candidates(["data", "stats", "--out"]) == ["--output"]
    assert candidates(["data", "prepare", "--data", "beta", "--data.w"]) == ["--data.width"]
