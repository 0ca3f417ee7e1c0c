"""MoViNet as an image backbone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vidcore.backbones import build_backbone
from vidcore_movinet import MoViNet
from vidcore_movinet.module import MoViNetModule


def test_an_image_is_a_clip_of_one_frame() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("movinet_a0").eval()
    net = MoViNet("a0").eval()
    named = {name.removeprefix("net."): value for name, value in backbone.state_dict().items()}
    assert not net.load_state_dict(named, strict=False).unexpected_keys
    torch.nn.init.ones_(net.layers[3].scale)
    backbone.load_state_dict({f"net.{name}": net.state_dict()[name] for name in named})
    images = torch.rand(2, 3, 64, 80)
    with torch.no_grad():
        maps, expected = backbone(images), net(images.unsqueeze(2))
        assert maps.shape == (2, backbone.num_features, 2, 3) and backbone.map_size(64) == (2, 2)
        torch.testing.assert_close(net.classify(maps.mean((2, 3))), expected)


def test_pretrained_backbones_have_the_released_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(MoViNetModule, "load_weights", lambda self, source: asked.append((self.variant_name, source)))
    build_backbone("movinet_a1", pretrained=True)
    assert asked == [("a1", "k600")]
