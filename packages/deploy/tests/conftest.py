from __future__ import annotations

import pytest


@pytest.fixture
def installed(fake_plugins, monkeypatch):
    module = "PLUGIN_API = 1\nfrom small_models import MeanColour\n"
    fake_plugins.add("vidcore-small", {"vidcore.models": {"mean": "vid_small:MeanColour"}}, {"vid_small": module})
    monkeypatch.setenv("VID_PLUGINS", "vidcore-small,vidcore-deploy")
