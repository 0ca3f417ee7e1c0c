"""Lists of class names: what is accepted, and one line with file and line number for what is not."""

from __future__ import annotations

import json

import pytest

from vidcore import Task, UserError
from vidcore.classes import LONGEST, MOST, read_classes
from vidcore.cli import main
from vidcore.cli.parsing import ModelParser
from vidcore.errors import UsageError


@pytest.mark.parametrize(
    "content",
    [
        b"clap\nwave\n",
        b"\xef\xbb\xbfclap\nwave",
        b"clap\r\nwave\r\n",
        b"clap\rwave\r",
        b"\n  clap  \n\n\t\nwave\n\n",
    ],
    ids=["plain", "bom", "crlf", "cr", "blank"],
)
def test_a_list_is_read_whatever_wrote_it(tmp_path, content):
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    assert read_classes(path) == ("clap", "wave")


def test_names_are_whatever_text(tmp_path):
    names = ("$x_{$", "a\u2028b", "a\x0cb", "<b>", "🎬", "1", "\u00b2", "x" * LONGEST)
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(names), encoding="utf-8")
    assert read_classes(path) == names


WRONG = {
    "twice": (b"clap\nwave\n\nclap\n", "line 4: class 'clap' is listed already in line 1"),
    "empty": (b"", "lists no classes"),
    "blank": (b"\n \n\t\n", "lists no classes"),
    "latin1": ("clap\nb\u00fccken\n".encode("latin-1"), "line 2: not UTF-8"),
    "utf16": ("clap\nwave\n".encode("utf-16"), "line 1: not UTF-8"),
    "utf16le": ("clap\nwave\n".encode("utf-16-le"), "line 1: not UTF-8"),
    "long": (b"clap\n" + b"x" * (LONGEST + 1), f"line 2: a class name of {LONGEST + 1} characters"),
    "many": (b"".join(b"%d\n" % number for number in range(MOST + 1)), f"line {MOST + 1}: more than {MOST} classes"),
    "binary": (bytes(range(1, 256)) * 10, "line 2: not UTF-8"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_names_file_and_line(tmp_path, capsys, name):
    content, said = WRONG[name]
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"classes\.txt") as caught:
        read_classes(path)
    assert said in str(caught.value)
    assert main(["flops", "--model", "movinet", "--classes", str(path)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("given", ["²", "0", "-1", "1.5", "１e3", "9" * 5000, str(MOST + 1), "nowhere.txt", "", "٠"])
def test_a_number_is_one_that_counts(given):
    with pytest.raises(UsageError, match="--classes"):
        ModelParser("flops", "").parse(["--model", "movinet", f"--classes={given}"])


def test_numbers_are_taken(tmp_path):
    arguments = ModelParser("flops", "").parse(["--model", "movinet", "--classes", "12"])
    assert arguments.classes == Task.numbered(12).classes


@pytest.mark.parametrize("classes", [json.loads("[1, 2]"), ["a", " "], ["a", None], "ab", {"a": 1}, 3, None])
def test_a_task_takes_names_only(classes):
    with pytest.raises(ValueError, match="class"):
        Task("single_label", classes)
