"""Options of the module."""

from __future__ import annotations

import copy
import fnmatch

import pytest
import torch
from torch.nn import functional as F

from vidcore.task import Task
from vidcore_movinet.module import MoViNetModule
from vidcore_movinet.network import MoViNet


def trained(module: MoViNetModule, stage: int) -> set[str]:
    """Return the groups of layers whose parameters are trained in a stage."""
    patterns = module.stages()[stage].trains
    names = [name for name, _ in module.named_parameters() if any(fnmatch.fnmatch(name, one) for one in patterns)]
    return {name.split(".")[2].split("_")[0] if ".layers." in name else name.split(".")[1] for name in names}


@pytest.mark.parametrize("stream", [False, True])
def test_unfreeze_trains_groups_of_layers_from_the_last_to_the_first(stream: bool) -> None:
    module = MoViNetModule(Task.numbered(3), stream=stream, unfreeze=2)
    assert [stage.epochs for stage in module.stages()] == [2] * 6
    assert trained(module, 0) == {"dense", "classifier"}
    assert trained(module, 1) - trained(module, 0) == {"project", "b4"}
    assert trained(module, 4) - trained(module, 3) == {"b1"}
    patterns = module.stages()[5].trains
    assert all(any(fnmatch.fnmatch(name, one) for one in patterns) for name, _ in module.named_parameters())


def test_linear_probe_trains_the_final_layer() -> None:
    module = MoViNetModule(Task.numbered(3), linear_probe=True)
    assert trained(module, 0) == {"classifier"}
    assert MoViNetModule(Task.numbered(3)).stages() == []


@pytest.mark.parametrize("stream", [False, True])
def test_checkpointing_changes_memory_only(stream: bool) -> None:
    torch.manual_seed(0)
    plain = MoViNet("a0", 5, stream, dropout=0.0, stochastic_depth=0.0).train()
    for name, parameter in plain.named_parameters():
        if name.endswith("scale"):
            torch.nn.init.constant_(parameter, 0.5)
    saving = copy.deepcopy(plain)
    saving.checkpointing = True
    clip, target = torch.rand(2, 3, 4, 48, 48), torch.tensor([0, 4])
    kept = {}
    for net in (plain, saving):
        sizes: dict[int, int] = {}

        def keep(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = F.cross_entropy(net(clip), target)
        kept[net] = sum(sizes.values())
        loss.backward()
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None, name
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5, msg=name)
    for (name, one), other in zip(plain.named_buffers(), saving.buffers(), strict=True):
        if "running" in name:
            torch.testing.assert_close(one, other, msg=name)
    assert kept[saving] < kept[plain] / 2
