"""Networks for images by name, and the shift of channels over time."""

from __future__ import annotations

import urllib.error

import pytest
import torch

from vidcore import backbones, plugins
from vidcore.backbones import Backbone, build_backbone
from vidcore.errors import UserError
from vidcore.flops import count_macs
from vidcore.nn.temporal_shift import TemporalShift


@pytest.mark.parametrize(
    ("name", "features", "gmacs"),
    [("mobilenet_v2", 1280, 0.2995), ("resnet18", 512, 1.8136), ("resnet50", 2048, 4.0871)],
)
def test_backbones_are_found_by_name_and_cost_what_is_known(name: str, features: int, gmacs: float) -> None:
    net = build_backbone(name).eval()
    assert net.num_features == features
    assert net.map_size(224) == (7, 7)
    assert net.map_size(144) == (5, 5)  # rounded up
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 96, 64)).shape == (2, features, 3, 2)
    assert count_macs(net, (torch.zeros(1, 3, 224, 224),)).total / 1e9 == pytest.approx(gmacs, rel=1e-4)


def test_size_of_the_map_moves_no_statistics() -> None:
    net = build_backbone("resnet18").train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.map_size(64)
    assert net.map_size(32) == (1, 1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_selection_of_plugins_leaves_the_core_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VID_PLUGINS", "something-else")
    assert "resnet50" in plugins.names("vidcore.backbones")


def test_shift_against_a_slow_loop() -> None:
    x = torch.randn(2 * 4, 16, 3, 3)
    shifted = TemporalShift(frames=4)(x).unflatten(0, (2, 4))
    clips = x.unflatten(0, (2, 4))
    zeros = torch.zeros(2, 2, 3, 3)
    for t in range(4):
        assert torch.equal(shifted[:, t, :2], clips[:, t + 1, :2] if t < 3 else zeros)
        assert torch.equal(shifted[:, t, 2:4], clips[:, t - 1, 2:4] if t > 0 else zeros)
        assert torch.equal(shifted[:, t, 4:], clips[:, t, 4:])


@pytest.mark.parametrize(("name", "blocks"), [("mobilenet_v2", 10), ("resnet18", 8), ("resnet50", 16)])
def test_shifted_backbones_see_other_frames_and_cost_the_same(name: str, blocks: int) -> None:
    torch.manual_seed(0)
    net = build_backbone(name, frames=3).eval()
    assert sum(isinstance(module, TemporalShift) for module in net.modules()) == blocks
    images = torch.randn(3, 3, 64, 64)
    other = images.clone()
    other[2] += 1
    with torch.no_grad():
        changed = (net(images) - net(other)).abs().amax((1, 2, 3))
    assert (changed > 0).all()
    assert count_macs(net, (images,)).total == count_macs(build_backbone(name), (images,)).total


def test_shift_needs_residual_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Backbone({"conv": torch.nn.Conv2d(3, 8, 3)}, 8)
    monkeypatch.setattr(plugins, "load", lambda group, name: lambda pretrained: plain)
    assert build_backbone("plain") is plain
    with pytest.raises(UserError, match="plain has no residual blocks"):
        build_backbone("plain", frames=4)


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(backbones.torchvision.models, "mobilenet_v2", offline)
    with pytest.raises(
        UserError, match=r"ImageNet weights of mobilenet_v2 cannot be downloaded: .*no network.*; with pretrained false"
    ):
        build_backbone("mobilenet_v2", pretrained=True)


def test_unknown_backbones_get_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean resnet50"):
        build_backbone("resnet_50")


def test_what_cannot_be_followed_is_left_as_it_is() -> None:
    class Chooses(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images if float(images.sum()) > 0 else -images

    net = Backbone({"conv": torch.nn.Conv2d(3, 4, 1), "norm": torch.nn.BatchNorm2d(4), "chooses": Chooses()}, 4)
    images = torch.randn(2, 3, 8, 8)
    copy = backbones.folded(net)
    torch.testing.assert_close(copy(images), net.eval()(images))
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in copy.modules())


@pytest.mark.parametrize("frames", [0, 2])
def test_pieces_are_the_whole(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = build_backbone("resnet18", frames=frames).double()
    images, sizes = torch.randn(6, 3, 32, 32, dtype=torch.float64), []
    net.register_forward_hook(lambda net, given, maps: sizes.append(len(maps)))
    monkeypatch.setattr(backbones, "PIECE", 3 * 32 * 32)
    with torch.no_grad():
        backbones.in_pieces(net, images, frames)  # statistics of all images
        torch.testing.assert_close(backbones.in_pieces(net.eval(), images, frames), net(images))
    assert sizes == ([6, 4, 2, 6] if frames else [6, 3, 3, 6])
    backbones.in_pieces(net, images, frames)  # gradients are wanted
    assert sizes[-1] == 6
