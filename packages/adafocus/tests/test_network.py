"""The network: whole clips, frame by frame, with early exits, and what each costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcore.backbones import build_backbone
from vidcore.errors import UserError
from vidcore.flops import count_macs, executed_macs
from vidcore.streaming import stream
from vidcore_adafocus import VARIANTS, AdaFocusNet
from vidcore_adafocus.exits import confidence, exit_steps
from vidcore_adafocus.module import step_output

SMALL: dict[str, Any] = {"frames": 4, "size": 64, "focus": "mobilenet_v2", "policy_width": 16, "head_width": 32}


def small(variant: str, **options: Any) -> AdaFocusNet:
    """A net with statistics that fit its weights, else all clips would look alike to it.

    In float64: what is not trained magnifies differences of rounding.
    """
    torch.manual_seed(0)
    net = AdaFocusNet(variant=variant, num_classes=3, **{**SMALL, "glance": "mobilenet_v2", **options}).train().double()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        net(clips(6, net.frames))
        for name, parameter in net.named_parameters():
            if name.startswith(("head", "policy.actor")) and parameter.dim() > 1:
                parameter.mul_(3)
    return net.eval()


def clips(rows: int, frames: int = 4, size: int = 64) -> Tensor:
    return torch.randn(rows, 3, frames, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# What the papers print, in GMACs a video.
ORACLE = [
    *[
        ("v1", patch, 200, 16 * (0.29949 + focus + 0.00996 + 0.01357))
        for patch, focus in ((96, 0.7507), (128, 1.3346), (160, 2.0853), (192, 3.0028))
    ],
    *[
        ("v1_tsm", patch, 174, 8 * 0.29949 + 12 * focus + 0.0416)
        for patch, focus in ((128, 1.3346), (144, 1.7576), (160, 2.0853), (176, 2.6061))
    ],
    *[
        ("v2", patch, 200, 16 * frame)
        for patch, frame in ((96, 1.10097), (128, 1.68484), (160, 2.43554), (192, 3.35306))
    ],
    *[("v2_rn", patch, 200, 16 * frame) for patch, frame in ((96, 1.54740), (128, 2.13128), (160, 2.88198))],
]


@pytest.mark.parametrize("variant", ["v1", "v1_tsm", "v2", "v2_rn"])
def test_macs_are_the_papers(variant: str) -> None:
    net = None
    for _, patch, classes, gmacs in [row for row in ORACLE if row[0] == variant]:
        net = net or AdaFocusNet(variant=variant, num_classes=classes, patch=patch)
        net.patch = patch
        assert net.macs_per_video() / 1e9 == pytest.approx(gmacs, rel=1e-3)


def test_macs_of_the_papers_baselines() -> None:
    clip = torch.zeros(8, 3, 224, 224)
    focus = count_macs(build_backbone("resnet50", frames=8), (clip,)).total / 1e9
    glance = count_macs(build_backbone("mobilenet_v2", frames=8), (clip,)).total / 1e9
    assert focus == pytest.approx(32.70, rel=1e-3)
    assert focus + glance == pytest.approx(35.09, rel=1e-3)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_counted_macs_are_executed(variant: str) -> None:
    net = small(variant)
    video = clips(2)
    with torch.no_grad():
        assert executed_macs(lambda: net(video)) == 2 * net.macs_per_video()


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_answers_have_their_form(variant: str) -> None:
    net, video = small(variant), clips(2)
    with torch.no_grad():
        output = net(video)
    assert output.logits.shape == (2, 3)
    windows = output.trace["windows"]
    assert windows.shape == (2, 4, 4)
    assert (windows[..., :2] >= 0).all() and (windows[..., 2:] <= 64).all()
    torch.testing.assert_close(windows[..., 2:] - windows[..., :2], torch.full((2, 4, 2), float(net.patch)).double())
    if net.config.shift:
        assert output.step_logits is None and len(windows.unique(dim=1)[0]) == 1  # one window a clip
    else:
        assert output.step_logits.shape == (2, 4, 3)
        assert torch.equal(output.step_logits[:, -1], output.logits)


@pytest.mark.parametrize("variant", ["v1", "v2", "v2_rn"])
@torch.no_grad()
def test_frame_by_frame_equals_the_clip_at_every_step(variant: str) -> None:
    net, video = small(variant), clips(3)
    whole = net(video).step_logits
    assert (whole[:, 0] - whole[:, -1]).abs().max() > 1e-3
    torch.testing.assert_close(stream(net, video, [1] * 4), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(stream(net, video, [3, 1]), whole[:, [2, 3]], rtol=0, atol=1e-5)


@torch.no_grad()
def test_steps_report_the_usage_and_the_windows_of_their_frames() -> None:
    net, video = skipping(), clips(3)
    whole, state = net(video), net.init_state(3, (64, 64))
    steps = []
    for frames in video.split([1, 2, 1], dim=2):
        output, state = step_output(net, frames, state)
        steps.append(output)
    for name, runs in whole.usage.items():
        assert torch.equal(sum(step.usage[name] for step in steps), runs)
    windows = torch.cat([step.trace["windows"] for step in steps], 1)
    torch.testing.assert_close(windows, whole.trace["windows"])


@torch.no_grad()
def test_streams_at_different_frames_share_a_batch() -> None:
    net, video = small("v2"), clips(2)
    whole = net(video).step_logits
    ahead = net.step(video[:1, :, :2], net.init_state(1, (64, 64)))[1]
    joined = {name: torch.cat([ahead[name], torch.zeros_like(ahead[name])]) for name in ahead}
    logits, _ = net.step(torch.stack([video[0, :, 2:3], video[1, :, :1]]), joined)
    torch.testing.assert_close(logits, torch.stack([whole[0, 2], whole[1, 0]]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_focus_network_runs_once_for_all_windows() -> None:
    net = small("v1")
    sizes = []
    net.focus.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(inputs[0].shape)))
    net(clips(3))
    assert sizes == [(12, 3, 32, 32)]


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_with_the_whole_frame_as_window_the_policy_has_no_say(variant: str) -> None:
    net, video = small(variant, patch=64), clips(2)
    with torch.no_grad():
        before = net(video).logits
        for parameter in net.policy.parameters():
            parameter.neg_()
        assert torch.equal(net(video).logits, before)


@pytest.mark.parametrize("order", ["time", "middle_first"])
@pytest.mark.parametrize("variant", ["v1", "v2"])
@torch.no_grad()
def test_real_exits_equal_simulated_ones(variant: str, order: str) -> None:
    net, video = small(variant, order=order), clips(12)
    whole = net(video)
    scores = confidence(whole.step_logits, "max_softmax")
    thresholds = torch.tensor([*scores.quantile(0.6, dim=0)[:3].tolist(), -torch.inf])
    leave = exit_steps(scores, thresholds)
    assert len(leave.unique()) > 2  # or the test would show nothing
    net.exit_by = "max_softmax"
    net.exit_thresholds.copy_(thresholds)
    windows_seen, passes = 0, 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal windows_seen, passes
        windows_seen, passes = windows_seen + len(inputs[0]), passes + 1

    hook = net.focus.register_forward_hook(count)
    output = net(video)
    hook.remove()
    simulated = whole.step_logits[torch.arange(12), leave]
    torch.testing.assert_close(output.logits, simulated, rtol=0, atol=1e-5)
    assert torch.equal(output.usage["focus"], leave + 1)
    assert windows_seen == int(output.usage["focus"].sum()) < 12 * 4
    assert passes == int(leave.max()) + 1
    drawn = output.trace["windows"].any(-1)
    assert torch.equal(drawn.sum(1), leave + 1)
    torch.testing.assert_close(output.trace["windows"][drawn], whole.trace["windows"][drawn])
    per_frame = net.macs_per_video() // 4
    assert executed_macs(lambda: net(video)) == per_frame * windows_seen


def test_exits_need_thresholds() -> None:
    net = small("v2")
    net.exit_by = "margin"
    with pytest.raises(UserError, match="these weights have no thresholds"):
        net(clips(1))
    net = small("v2_tsm")
    net.exit_by = "margin"
    with pytest.raises(UserError, match=r"temporal shift .* no early exit"):
        net(clips(1))


def test_frames_in_another_order_are_the_same_frames() -> None:
    net, plain = small("v1", order="middle_first"), small("v1")
    video = clips(2)
    plain.load_state_dict(net.state_dict())
    with torch.no_grad():
        ours, theirs = net(video), plain(video[:, :, [2, 0, 3, 1]])
    assert torch.equal(ours.logits, theirs.logits)
    assert torch.equal(ours.trace["windows"][:, [2, 0, 3, 1]], theirs.trace["windows"])
    with pytest.raises(UserError, match="needs whole clips"):
        net.init_state(1, (64, 64))


@pytest.mark.parametrize(("variant", "kind"), [("v1", "centre"), ("v2", "random"), ("v1_tsm", "gaussian")])
@torch.no_grad()
def test_windows_to_compare_with_cost_no_policy(variant: str, kind: str) -> None:
    net, video = small(variant, windows=kind), clips(4)
    places = net(video).trace["windows"]
    assert places.min() >= 0 and places.max() <= 64
    if kind == "centre":
        assert places.unique(dim=0).unique(dim=1).tolist() == [[[16, 16, 48, 48]]]
    else:
        assert len(places.flatten(0, 1).unique(dim=0)) == (4 if net.config.shift else 16)
    assert executed_macs(lambda: net(video)) == 4 * net.macs_per_video()
    assert count_macs(*net.components()["policy"]).total == 0


@pytest.mark.parametrize("variant", ["v1", "v2", "v2_tsm"])
@torch.no_grad()
def test_folded_networks_compute_the_same_without_normalisation(variant: str) -> None:
    net, video = small(variant), clips(3)
    fast = net.folded()
    for part in (fast.glance, fast.focus):
        assert not any(isinstance(module, nn.BatchNorm2d) for module in part.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in net.focus.modules())
    torch.testing.assert_close(fast(video).logits, net(video).logits)
    assert fast.macs_per_video() == net.macs_per_video()


def skipping(**options: Any) -> AdaFocusNet:
    """One that looks at about half of the frames."""
    net = small("v1", skips=True, **options)
    nn.init.normal_(net.nothing)
    nn.init.normal_(net.policy.look.weight, std=20)
    with torch.no_grad():
        maps = net.global_features(clips(6))
        net.look_threshold.fill_(float(net.policy(maps, maps.new_zeros(6, 16))[0][..., 2].median()))
    return net


@torch.no_grad()
def test_frames_that_are_skipped_are_not_looked_at() -> None:
    net, video, seen = skipping(), clips(6), []
    net.focus.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    out = net(video)
    looks = out.usage["focus"]
    assert 0 < int(looks.sum()) < 24 and seen == [int(looks.sum())]
    assert torch.equal((out.trace["windows"].sum(-1) > 0).sum(1), looks)
    assert torch.equal(out.usage["glance"], torch.full((6,), 4))
    # What is left out is the same for the classifier, wherever the window would have been.
    maps = net.global_features(video)
    positions, _ = net.policy(maps, maps.new_zeros(6, 16))
    features = net.local_features(video, net.corners(positions, video))
    features[~net.focus_mask(positions)] = net.nothing
    torch.testing.assert_close(net.classify(maps, features), out.step_logits)
    torch.testing.assert_close(stream(net, video, [1] * 4), out.step_logits)
    net.look_threshold.fill_(2.0)
    assert int(net(video).usage["focus"].sum()) == 0 and len(seen) == 1 + 1 + 4


@torch.no_grad()
def test_skips_and_exits_together() -> None:
    net, video = skipping(), clips(6)
    whole = net(video)
    scores = confidence(whole.step_logits, "margin")
    thresholds = torch.cat([scores[:, :3].median(0).values, torch.tensor([-torch.inf])])
    net.exit_thresholds.copy_(thresholds)
    net.exit_by = "margin"
    out, steps = net(video), exit_steps(scores, net.exit_thresholds)
    torch.testing.assert_close(out.logits, whole.step_logits[torch.arange(6), steps])
    assert torch.equal(out.usage["glance"], steps + 1)
    looked = whole.trace["windows"].sum(-1) > 0
    assert torch.equal(out.usage["focus"], (looked & (torch.arange(4) <= steps[:, None])).sum(1))


def test_skips_need_a_policy_that_decides() -> None:
    for variant, windows in (("v2", "learnt"), ("v1_tsm", "learnt"), ("v1", "centre")):
        with pytest.raises(UserError, match="need variant v1 and windows learnt"):
            small(variant, windows=windows, skips=True)


def test_clips_that_do_not_fit() -> None:
    net = small("v2")
    with pytest.raises(UserError, match="window of 32 × 32 pixels does not fit a frame of 24 × 64"):
        net(torch.zeros(1, 3, 4, 24, 64))
    with pytest.raises(UserError, match="clips of 4 frames, got 3"):
        net(torch.zeros(1, 3, 3, 64, 64))
    with pytest.raises(UserError, match="window of 32"):
        net.init_state(1, (24, 24))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"variant": "v3"}, "variant must be one of v1, v1_tsm, v2"),
        ({"patch": 65}, "window of 65 × 65 pixels does not fit a frame of 64 × 64"),
        ({"patch": 0}, "patch must be between 1 and 64"),
        ({"variant": "v1", "places": 48}, "places must be one of 25, 36, 49, 64, got 48"),
        ({"variant": "v1_tsm", "glance_frames": 5}, "glance_frames must be between 1 and 4 \\(the clip\\), got 5"),
        ({"windows": "left"}, "windows must be one of learnt, centre, random, gaussian, got 'left'"),
        ({"focus": "resnet_50"}, "did you mean resnet50"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], says: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=says):
        AdaFocusNet(**{"num_classes": 3, **SMALL, **options})


def test_glances_of_a_shifted_clip_are_spread_evenly() -> None:
    net = AdaFocusNet(variant="v1_tsm", num_classes=3, **{**SMALL, "frames": 12, "glance": "mobilenet_v2"})
    seen = []
    net.glance.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][:, 0, 0, 0]))
    video = torch.arange(12.0).reshape(1, 1, 12, 1, 1).expand(1, 3, 12, 64, 64)
    net.global_features(video)
    assert seen[0].tolist() == [0, 2, 3, 5, 6, 8, 9, 11]
