from __future__ import annotations

import os
import re

import pytest
import torch
from broken_models import BROKEN, Conformance, Decides, OfStreams, Right, RightInTurns, RightStream
from small_models import BrightestSpot, LookOrListen, MeanColour, TwoStages

from vidcore import Batch
from vidcore.plugins import PluginError
from vidcore.testing import ModelConformance, tiny_batch

TESTS = [name for name in dir(ModelConformance) if name.startswith("test_")]


class TestRight(Conformance):
    name = Right


class TestDecides(Conformance):
    name = Decides


class TestRightStream(OfStreams):
    name = RightStream


class TestMultiLabel(ModelConformance):
    name = MeanColour
    batch = tiny_batch(rows=2, frames=2, size=16, classes=3, kind="multi_label")
    macs = 3 * 8 + 8 * 3


class TestStages(ModelConformance):
    name = TwoStages
    batch = tiny_batch(rows=2, frames=2, size=16, classes=3)
    macs = 3 * 8 + 8 * 3


class TestTurns(Conformance):
    name = RightInTurns


class TestDetection(ModelConformance):
    name = BrightestSpot
    batch = tiny_batch(rows=2, frames=2, size=32, classes=1, kind="detection")
    macs = 0


class TestSoundInSegments(ModelConformance):
    name = LookOrListen
    batch = tiny_batch(rows=2, frames=4, size=16, classes=3, segments=2, audio_samples=4000)
    macs = 3 * 3 + 1 * 3


class TestMute(TestSoundInSegments):
    """One of the two rows has no sound, and is not heard."""

    batch = Batch(TestSoundInSegments.batch, present={"audio": torch.tensor([True, False])})
    macs = 3 * 3 + 0.5 * 1 * 3


def failures(suite):
    """By test, what it says."""
    found = {}
    for name in TESTS:
        try:
            getattr(suite(), name)()
        except pytest.skip.Exception:
            pass
        except Exception as error:
            found[name] = str(error)
    return found


@pytest.mark.parametrize("suite", BROKEN, ids=lambda suite: suite.__name__)
def test_a_broken_model_fails_the_test_that_is_meant_for_it_and_no_other(suite):
    found = failures(suite)
    assert found.keys() == {suite.fails}, found
    assert re.search(suite.says, found[suite.fails]), found[suite.fails]


def test_every_test_finds_a_broken_model():
    # What is wrong with an installation is not in a model: see below.
    assert set(TESTS) - {suite.fails for suite in BROKEN} == {"test_is_installed_under_its_name"}


@pytest.mark.parametrize(
    ("declares", "entry_point", "says"),
    [
        ("PLUGIN_API = 1", "Found", None),
        ("PLUGIN_API = 1", "Alias", "checkpoints would call it installed.Found: .* must name the class as Found"),
        ("", "Found", "declares no PLUGIN_API"),
        ("PLUGIN_API = 1", "Right.forward", "is not a VideoModule class"),
    ],
)
def test_installation_is_tested(fake_plugins, declares, entry_point, says):
    text = f"{declares}\nfrom broken_models import Right\n\nclass Found(Right):\n    pass\n\nAlias = Found\n"
    fake_plugins.add("installed", {"vidcore.models": {"found": f"installed:{entry_point}"}}, {"installed": text})
    suite = type("Installed", (Conformance,), {"name": "found"})
    if says is None:
        suite().test_is_installed_under_its_name()
    else:
        with pytest.raises((AssertionError, PluginError), match=says):
            suite().test_is_installed_under_its_name()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"batch": tiny_batch(rows=1)}, "at least two rows"),
        ({"name": LookOrListen, "batch": tiny_batch(frames=5)}, "takes 2 segments, which do not divide .* 5 frames"),
        (
            {"options": {"clip": {"frames": 3}}},
            "with clip={'frames': 3} the model expects",
        ),
    ],
)
def test_what_is_wrong_with_the_suite_is_said(changes, says):
    suite = type("Wrong", (Conformance,), {"name": Right, **changes})
    with pytest.raises(AssertionError, match=says):
        suite().test_takes_the_common_options()


def test_the_suite_leaves_the_random_state_and_the_environment_alone():
    torch.manual_seed(7)
    before, environment = torch.random.get_rng_state(), dict(os.environ)
    suite = type("Again", (Conformance,), {"name": Right})
    for name in ("test_trains", "test_rows_do_not_influence_each_other", "test_two_processes_equal_one"):
        getattr(suite(), name)()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert dict(os.environ) == environment | {"PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}
