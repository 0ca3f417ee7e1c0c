"""Class names of any shape are shown as they are in figures, pages and pictures, and never stop a run."""

from __future__ import annotations

import io
import warnings

import matplotlib
import numpy as np
import pytest
import torch
from test_report import summary

from vidcore import Task
from vidcore.classes import shown
from vidcore.report import figures, page
from vidcore.report.examples import Example
from vidcore.video.render import draw
from vidcore_datasets.commands.stats import _show
from vidcore_datasets.statistics import page as data_page
from vidcore_datasets.statistics.stats import Header, class_balance
from vidcore_datasets.statistics.stats import summary as stats_of

NAMES = ("$x_{$", r"\frac{a}$$", "line\nbreak", "<script>x</script>", "🎬 視頻", "[/red]", "no\udcffUTF8", "n" * 5000)


def texts(figure):
    """The texts of a figure as they are drawn: an SVG holds a formula as glyphs, everything else as text."""
    content = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(content, format="svg")
    return content.getvalue()


def figures_of(names):
    number = len(names)
    yield figures.confusion(np.eye(number), names)
    yield figures.per_class(np.linspace(0, 1, number), names)
    yield figures.class_counts({"train": np.arange(number)}, names)
    yield figures.accuracy_gmacs({name: (1.0 + i, 0.5) for i, name in enumerate(names)}, names[0], "top-1")


def test_figures_show_names_literally():
    for figure in figures_of(NAMES):
        drawn = texts(figure)
        assert "$x_{$" in drawn
        assert r"\frac{a}$$" in drawn
        assert "line break" in drawn
        assert "[/red]" in drawn
        assert "n" * 61 not in drawn, "cut"


def test_saving_a_figure_says_nothing_of_letters_that_the_font_lacks(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, figure in enumerate(figures_of(NAMES)):
            figures.save(figure, tmp_path / f"{number}.png")


def test_the_page_of_a_run_shows_them(tmp_path):
    frames = torch.zeros(2, 3, 20, 24, dtype=torch.uint8)
    examples = [Example(name.replace("/", "_"), frames, f"{name} 90 %", name, True, 0.5, 4.0) for name in NAMES]
    scores = np.eye(len(NAMES), dtype=np.float32)
    task = Task("single_label", NAMES)
    run = summary(task=task, scores=scores, targets=np.arange(len(NAMES)), examples=examples)
    page.write(run, tmp_path / "report", tmp_path)
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "$x_{$" in text
    assert "&lt;script&gt;x&lt;/script&gt;" in text
    assert "<script>x" not in text
    assert "🎬" in text


def test_the_page_and_table_of_a_data_set_show_them(tmp_path, capsys):
    headers = [Header("a.mp4", "train", "h264", 25, 25.0, 32, 24, 1.0)]
    most = {"[/red]": 1, ":smile:": 2, "<script>": 3}
    balance = {**class_balance(np.arange(len(NAMES)), NAMES), "most": most}
    stats = {"train": {"samples": len(NAMES), **stats_of(headers), **balance}}
    data_page.write("title", headers, stats, NAMES, tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    _show(stats)
    out = capsys.readouterr().out
    assert "[/red]" in out
    assert ":smile:" in out


@pytest.mark.parametrize("name", NAMES)
def test_they_are_drawn_onto_frames(name):
    frames = torch.zeros(2, 3, 240, 320, dtype=torch.uint8)
    boxes = {"boxes": [(20, 20, 100, 100)], "labels": [name], "scores": [0.5]}
    drawn = draw(frames, [f"{name} 0.50"], {"boxes": [boxes, boxes]})
    assert drawn.shape[-1] == 320
    assert 240 < drawn.shape[-2] < 400


def test_shown():
    assert shown("a\tb\n\x1b[2Jc") == "a b [2Jc"
    assert shown("x" * 28) == "x" * 28
    assert shown("x" * 29) == "x" * 27 + "…"
