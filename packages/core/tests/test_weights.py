from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_models import MeanColour

from vidcore import ClipSpec, UserError, Weights
from vidcore.cli import main
from vidcore.weights import read_weights

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}


def record(path, digest=None):
    return Weights(path.as_uri(), digest or hashlib.sha256(path.read_bytes()).hexdigest(), ("x", "y"), ClipSpec())


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.ckpt"])
def test_read_weights(tmp_path, name):
    path = tmp_path / name
    if name == "w.safetensors":
        save_file(TENSORS, path)
    else:
        torch.save({"state_dict": TENSORS, "epoch": 3} if name == "w.ckpt" else TENSORS, path)
    read = read_weights(path)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[key], TENSORS[key]) for key in TENSORS)


def test_what_holds_no_tensors_is_refused_and_not_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    for name, content in (("evil.pt", pickle.dumps(Evil())), ("text.pt", b"hello"), ("empty.safetensors", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            read_weights(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    torch.save({"state_dict": {"a": 3}}, tmp_path / "number.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        read_weights(tmp_path / "number.pt")
    with pytest.raises(UserError, match="no weights file at"):
        read_weights(tmp_path / "missing.pt")


def test_fetch_downloads_once_and_checks_the_sum(tmp_path):
    source = tmp_path / "w.safetensors"
    save_file(TENSORS, source)
    weights = record(source)
    path = weights.fetch(tmp_path / "cache")
    assert path.read_bytes() == source.read_bytes()
    source.unlink()
    assert weights.fetch(tmp_path / "cache") == path


def test_a_wrong_sum_names_both_and_keeps_nothing(tmp_path):
    source = tmp_path / "w.pt"
    source.write_bytes(b"something else")
    found = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(UserError, match=f"sha256 {found}, not {'0' * 64}"):
        record(source, "0" * 64).fetch(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_missing_source_is_said(tmp_path):
    weights = Weights((tmp_path / "nothing.pt").as_uri(), "0" * 64, ("x",), ClipSpec())
    with pytest.raises(UserError, match="cannot be downloaded"):
        weights.fetch(tmp_path / "cache")


def test_the_list_says_what_fixes_the_files(capsys, monkeypatch):
    commit = "https://host/raw/" + "0123456789" * 4 + "/w"
    urls = {"summed": ("https://host/w", "a" * 64), "committed": (commit, ""), "loose": ("https://host/raw/main/w", "")}
    found = {name: Weights(url, digest, ("x", "y"), ClipSpec()) for name, (url, digest) in urls.items()}
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(MeanColour, "published_weights", lambda self: found)
    assert main(["weights", "list", "--model", "small_models.MeanColour", "--json"]) == 0
    said = capsys.readouterr()
    rows = {row["name"]: (row["sha256"], row["pinned_by"]) for row in json.loads(said.out)}
    assert rows == {"summed": ("a" * 64, "sha256"), "committed": (None, "revision"), "loose": (None, "nothing")}
    assert "vid: loose: neither a checksum nor a revision" in said.err
    assert main(["weights", "list", "--model", "small_models.MeanColour"]) == 0
    table = capsys.readouterr().out
    assert "pinned_by" in table and "revision" in table and "nothing" in table
