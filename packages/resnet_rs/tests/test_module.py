"""Options and weights of the 3D ResNet-RS module."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from vidcore import Task
from vidcore.errors import UserError
from vidcore.testing import tiny_batch
from vidcore_resnet_rs import ContrastiveModule, ResNetRSModule
from vidcore_resnet_rs.network import ResNetRS3D

CLIP = {"frames": 4, "size": 32}
TASK = Task.numbered(3)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(3)
    module = ContrastiveModule(TASK, clip=CLIP)
    path = tmp_path_factory.mktemp("pretrained") / "last.ckpt"
    torch.save({"state_dict": module.state_dict()}, path)
    return str(path)


@pytest.mark.parametrize(("frames", "pool", "multiple"), [(5, 1, 2), (6, 2, 4)])
def test_number_of_frames_must_be_a_multiple_of_the_stride(frames: int, pool: int, multiple: int) -> None:
    with pytest.raises(UserError, match=rf"must be a multiple of {multiple} .*, got {frames}; use e.g. 4"):
        ResNetRSModule(TASK, clip={"frames": frames}, pool_temporal_stride=pool)


def test_segments_count_as_frames() -> None:
    with torch.device("meta"):
        assert ResNetRSModule(TASK, clip={"frames": 1, "segments": 4, "size": 32}).clip_spec.num_frames == 4


def test_published_figures_belong_to_the_papers_networks_only() -> None:
    with torch.device("meta"):
        kinetics = Task.numbered(400)
        assert ResNetRSModule(kinetics).published() == {"top1": 78.2}
        assert ResNetRSModule(kinetics, depth=200, clip={"frames": 48}).published() == {"top1": 81.0}
        assert ResNetRSModule(kinetics, clip={"frames": 16}).published() == {}
        assert ResNetRSModule(kinetics, stem="v0").published() == {}


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"clip": {"size": 256}, "dropout": 0.1}, True),
        ({"clip": {"size": 192}}, False),
        ({"clip": {"stride": 4}}, False),
        ({"clip": {"segments": 2}}, False),
        ({"depth": 270}, False),
        ({"pool_temporal_stride": 2}, False),
        ({"se_ratio": 0.0}, False),
        ({"gating": "all"}, False),
        ({"gating_position": "after_se"}, False),
        ({"temporal_kernels": [[1], [1], [1], [3]]}, False),
        ({"linear_probe": True}, False),
        ({"task": Task.numbered(10)}, False),
    ],
)
def test_options_that_change_the_network_hide_published_figures(options: Any, same: bool) -> None:
    with torch.device("meta"):
        module = ResNetRSModule(**{"task": Task.numbered(400), **options})
        assert bool(module.published()) == same
        assert module.family()[0]["parameters"] == 48_129_840, "always the paper's networks"


def test_family_lists_the_parameters_and_macs_of_the_networks() -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = ResNetRSModule(Task.numbered(400))
        model.net.eval()(torch.empty(1, 3, 32, 224, 224))
    family = model.family()
    assert [(row["depth"], row["frames"]) for row in family] == [(50, 32), (101, 32), (152, 32), (200, 32), (200, 48)]
    assert family[0]["parameters"] == sum(p.numel() for p in model.net.parameters())
    assert family[0]["gmacs"] == pytest.approx(counter.get_total_flops() / 2e9)


def test_average_of_weights_includes_statistics() -> None:
    with torch.device("meta"):
        module = ResNetRSModule(TASK, clip=CLIP, optim={"ema": 0.9})
    (average,) = module.configure_callbacks()
    assert average._use_buffers  # the official recipe averages the statistics, too


@pytest.mark.parametrize("decay_all", [False, True])
def test_decay_all_includes_norms_and_biases(decay_all: bool) -> None:
    optim = {"name": "sgd", "weight_decay": 0.1, "decay_all": decay_all}
    with torch.device("meta"):
        module = ResNetRSModule(TASK, clip=CLIP, optim=optim)
    optimizer, _ = module.optim.build(module.parameters(), 10)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert {p.dim() > 1 for p in module.parameters() if id(p) in decayed} == ({True, False} if decay_all else {True})
    assert all((id(p) in decayed) == (decay_all or p.dim() > 1) for p in module.parameters())


def test_linear_probe_trains_the_classifier_on_features_of_length_one(pretrained: str) -> None:
    module = ResNetRSModule(TASK, clip=CLIP, linear_probe=True, dropout=0.0)
    module._freeze()
    assert {name for name, p in module.named_parameters() if p.requires_grad} == {
        "net.classifier.weight",
        "net.classifier.bias",
    }
    module.train()
    assert not any(norm.training for norm in module.net.modules() if isinstance(norm, nn.BatchNorm3d))
    batch = tiny_batch(rows=2, frames=4, size=32, classes=3)
    features = F.normalize(module.net.features(batch["inputs"]["rgb"]))
    torch.testing.assert_close(module(batch).logits, module.net.classifier(features))


def test_weights_of_contrastive_pre_training(pretrained: str) -> None:
    torch.manual_seed(0)
    module = ResNetRSModule(TASK, clip=CLIP)
    classifier = module.net.classifier.weight.clone()
    assert module.load_weights(pretrained) == ["net.classifier.bias", "net.classifier.weight"]
    torch.manual_seed(3)
    network = ContrastiveModule(TASK, clip=CLIP).net.state_dict()
    ours = module.net.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in network.items())
    assert torch.equal(module.net.classifier.weight, classifier)


def test_weights_of_another_network_are_refused(pretrained: str) -> None:
    with torch.device("meta"):
        module = ResNetRSModule(TASK, clip=CLIP, stem="v0")
    with pytest.raises(UserError, match=r"last\.ckpt does not fit this network: .*stem\.0"):
        module.load_weights(pretrained)


def test_weights_with_another_number_of_classes_keep_the_classifier(tmp_path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": ResNetRSModule(Task.numbered(5), clip=CLIP).state_dict()}, path)
    assert ResNetRSModule(TASK, clip=CLIP).load_weights(path) == ["net.classifier.bias", "net.classifier.weight"]


def test_compiled_bottlenecks_keep_costs_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: compiled.append(self))
    module = ResNetRSModule(TASK, clip=CLIP, compile=True)
    module.setup("test")
    assert len(compiled) == 16
    assert module._costs is not None
    with torch.device("meta"):
        assert module.state_dict().keys() == ResNetRSModule(TASK, clip=CLIP).state_dict().keys()


def test_channels_last() -> None:
    with torch.device("meta"):
        net = ResNetRSModule(TASK, clip=CLIP, channels_last=True).net
    assert net.stages[0][0].spatial.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert isinstance(net, ResNetRS3D)
