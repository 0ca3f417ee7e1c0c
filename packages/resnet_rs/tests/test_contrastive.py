"""Contrastive pre-training, compared with direct computation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F

from vidcore import Task
from vidcore.errors import UserError
from vidcore.testing import tiny_batch
from vidcore_resnet_rs import ContrastiveModule
from vidcore_resnet_rs.contrastive import info_nce, projection

PAIRS = F.normalize(torch.randn(8, 5, generator=torch.Generator().manual_seed(0)))


def test_info_nce_by_hand() -> None:
    loss, top1 = info_nce(PAIRS, 0.1)
    total, right = 0.0, 0
    for row in range(8):
        scores = {other: float(PAIRS[row] @ PAIRS[other]) / 0.1 for other in range(8) if other != row}
        partner = row + 1 if row % 2 == 0 else row - 1
        total += math.log(sum(math.exp(score) for score in scores.values())) - scores[partner]
        right += max(scores, key=scores.__getitem__) == partner
    assert loss == pytest.approx(2 * total / 8, rel=1e-5)
    assert top1 == right / 8


def test_loss_of_equal_pairs_is_small() -> None:
    loss, top1 = info_nce(F.normalize(PAIRS[::2]).repeat_interleave(2, 0), 0.01)
    assert top1 == 1
    assert loss < 1e-3


def rank(number: int, store: str, weight: torch.Tensor, results: dict) -> None:
    torch.set_num_threads(1)  # the parent's threads do not survive the fork
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    weight = weight.clone().requires_grad_()
    loss, _ = info_nce(F.normalize(PAIRS[4 * number : 4 * number + 4] @ weight), 0.1)
    loss.backward()
    results[number] = (loss.item(), weight.grad.tolist())
    distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path) -> None:
    weight = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    with multiprocessing.Manager() as manager:
        results = manager.dict()
        multiprocessing.start_processes(rank, (str(tmp_path / "store"), weight, results), 2, start_method="fork")
        (loss0, grad0), (loss1, grad1) = results[0], results[1]
    alone = weight.clone().requires_grad_()
    loss, _ = info_nce(F.normalize(PAIRS @ alone), 0.1)
    loss.backward()
    assert (loss0 + loss1) / 2 == pytest.approx(loss.item(), rel=1e-5)
    # DistributedDataParallel averages the gradients over the processes.
    torch.testing.assert_close((torch.tensor(grad0) + torch.tensor(grad1)) / 2, alone.grad, rtol=1e-4, atol=1e-5)


def test_projection() -> None:
    layers = projection(2048, 2048, 128)
    assert [layer.weight.shape for layer in layers if isinstance(layer, nn.Linear)] == [
        (2048, 2048),
        (2048, 2048),
        (2048, 2048),
        (128, 2048),
    ]
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in layers) == 3


@pytest.fixture(scope="module")
def module() -> ContrastiveModule:
    torch.manual_seed(0)
    return ContrastiveModule(Task.numbered(3), clip={"frames": 2, "size": 32}, hidden=16, dimensions=8)


def test_clips_are_pairs(module: ContrastiveModule) -> None:
    assert module.clip_spec.pairs
    assert module.task.num_classes == 1


def test_gradients_reach_network_and_projection(module: ContrastiveModule) -> None:
    batch = tiny_batch(rows=4, frames=2, size=32, classes=3)
    batch["ids"] = ["a", "a", "b", "b"]
    module.train()
    module.loss(module(batch), batch).backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert module.embed(batch["inputs"]["rgb"]).norm(dim=1).tolist() == pytest.approx([1] * 4)


def test_rows_must_be_pairs(module: ContrastiveModule) -> None:
    batch = tiny_batch(rows=4, frames=2, size=32, classes=3)
    with pytest.raises(UserError, match="two clips of each video in adjacent rows"):
        module(batch)


def test_costs_are_of_the_network_only(module: ContrastiveModule) -> None:
    assert list(module.costs()) == ["network"]


@pytest.mark.parametrize("step", ["test_step", "predict_step"])
def test_testing_and_prediction_are_refused(module: ContrastiveModule, step: str) -> None:
    with pytest.raises(UserError, match=r"--model resnet_rs --model\.weights"):
        getattr(module, step)({}, 0)
