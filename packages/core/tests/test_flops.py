from __future__ import annotations

import copy
import io
import warnings
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.utilities import dim_zero_cat
from torchvision import models, ops
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.video.mvit import MSBlockConfig, MViT

from vidcore.errors import UserError
from vidcore.flops import (
    UncountedOpError,
    VideoCost,
    cost_table,
    count_macs,
    executed_macs,
    macs_per_row,
    parameters,
)

R = torch.rand


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def torch_macs(module, *inputs):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*inputs)
    return counter.get_total_flops() // 2


def executed(module, *inputs):
    with torch.no_grad():
        return executed_macs(lambda: module.eval()(*inputs))


def einsum(equation, *operands):
    return Function(lambda *a: torch.einsum(equation, *a)), operands


def resize(mode, size, x, **options):
    return Function(lambda x: F.interpolate(x, size, mode=mode, **options)), (x,)


def sample(mode, x, grid):
    return Function(lambda x, g: F.grid_sample(x, g, mode=mode, align_corners=False)), (x, grid)


# name: (module, inputs), MACs by hand
BY_TORCH = {
    "linear": ((nn.Linear(4, 8), (R(3, 5, 4),)), 15 * 4 * 8),
    "conv2d": ((nn.Conv2d(4, 6, 3, groups=2), (R(2, 4, 8, 8),)), 2 * 36 * 6 * 2 * 9),
    "conv3d": ((nn.Conv3d(3, 4, (1, 3, 3), stride=2), (R(1, 3, 4, 7, 7),)), 2 * 9 * 4 * 3 * 9),
    "conv same": ((nn.Conv2d(3, 4, 3, padding="same"), (R(2, 3, 8, 8),)), 2 * 64 * 4 * 27),
    "conv transposed": ((nn.ConvTranspose2d(3, 6, 3, stride=2), (R(2, 3, 8, 8),)), 2 * 64 * 3 * 6 * 9),
    "matmul broadcast": ((Function(torch.matmul), (R(3, 4), R(7, 4, 5))), 7 * 3 * 4 * 5),
    "baddbmm": ((Function(torch.baddbmm), (R(2, 3, 5), R(2, 3, 4), R(2, 4, 5))), 2 * 3 * 4 * 5),
    "tensordot": ((Function(lambda a, b: torch.tensordot(a, b, 2)), (R(2, 3, 4), R(3, 4, 5))), 2 * 12 * 5),
    "inner": ((Function(torch.inner), (R(2, 4), R(3, 4))), 24),
    "einsum": (einsum("bthc,bshc->bhts", R(2, 37, 3, 11), R(2, 41, 3, 11)), 2 * 3 * 37 * 41 * 11),
    "einsum ellipsis": (einsum("...ij,...jk->...ik", R(2, 7, 3, 4), R(2, 7, 4, 5)), 14 * 60),
    "einsum implicit": (einsum("ij,jk", R(3, 4), R(4, 5)), 60),
    "einsum elementwise": (einsum("bij,bk->bk", R(2, 3, 4), R(2, 5)), 0),
    "gru": ((nn.GRU(6, 8), (R(5, 3, 6),)), 15 * 3 * 8 * (6 + 8)),
    "gru deep": (
        (nn.GRU(6, 8, num_layers=2, bidirectional=True, batch_first=True), (R(3, 5, 6),)),
        15 * 2 * 24 * ((6 + 8) + (16 + 8)),
    ),
    "rnn": ((nn.RNN(6, 8), (R(5, 3, 6),)), 15 * 8 * 14),
}
NOT_BY_TORCH = {
    "mv": ((Function(torch.matmul), (R(3, 4), R(4))), 12),
    "dot": ((Function(torch.matmul), (R(4), R(4))), 4),
    "addmv": ((Function(torch.addmv), (R(3), R(3, 4), R(4))), 12),
    "addbmm": ((Function(torch.addbmm), (R(3, 5), R(2, 3, 4), R(2, 4, 5))), 2 * 3 * 4 * 5),
    "lstm": (
        (nn.LSTM(6, 8, num_layers=2, bidirectional=True, batch_first=True), (R(3, 5, 6),)),
        15 * 2 * 32 * ((6 + 8) + (16 + 8)),
    ),
    "lstm projected": ((nn.LSTM(6, 8, proj_size=4), (R(5, 3, 6),)), 15 * (32 * (6 + 4) + 8 * 4)),
    "sdpa": ((Function(F.scaled_dot_product_attention), (R(2, 4, 5, 8), R(2, 4, 7, 8), R(2, 4, 7, 8))), 8 * 35 * 16),
    "encoder layer": ((nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (R(1, 10, 16),)), 23_680),
    "linear resize": (resize("linear", 9, R(2, 3, 5)), 2 * 2 * 3 * 9),
    "bilinear resize": (resize("bilinear", (9, 7), R(2, 3, 5, 5)), 4 * 6 * 63),
    "bicubic resize": (resize("bicubic", (9, 7), R(2, 3, 5, 5)), 16 * 6 * 63),
    "trilinear resize": (resize("trilinear", (2, 9, 7), R(2, 3, 5, 5, 5)), 8 * 6 * 126),
    # 12 -> 4 rows: 2 taps widened by 3; 6 -> 8 columns: 2 taps.
    "antialias": (resize("bilinear", (4, 8), R(1, 3, 12, 6), antialias=True), 3 * (12 * 8 * 2 + 4 * 8 * 6)),
    "antialias cubic": (resize("bicubic", (4, 8), R(1, 3, 12, 6), antialias=True), 3 * (12 * 8 * 4 + 4 * 8 * 12)),
    "grid bilinear": (sample("bilinear", R(2, 3, 8, 8), R(2, 5, 6, 2)), 4 * 2 * 3 * 30),
    "grid nearest": (sample("nearest", R(2, 3, 8, 8), R(2, 5, 6, 2)), 0),
    "grid bicubic": (sample("bicubic", R(2, 3, 8, 8), R(2, 5, 6, 2)), 16 * 2 * 3 * 30),
    "grid trilinear": (sample("bilinear", R(2, 3, 4, 4, 4), R(2, 5, 6, 7, 3)), 8 * 2 * 3 * 210),
    "affine grid": ((Function(lambda t: F.affine_grid(t, [2, 3, 5, 6], False)), (R(2, 2, 3),)), 2 * 30 * 2 * 3),
    "deform_conv2d": (
        (ops.DeformConv2d(4, 6, 3, groups=2), (R(2, 4, 8, 8), R(2, 18, 6, 6))),
        2 * 36 * 6 * 2 * 9 + 4 * 2 * 36 * 4 * 9,
    ),
    "roi_align": ((ops.RoIAlign(3, 1.0, 2), (R(1, 5, 8, 8), torch.tensor([[0.0, 0, 0, 7, 5]]))), 4 * 4 * 5 * 9),
    "ps_roi_align": ((ops.PSRoIAlign(3, 1.0, 2), (R(1, 18, 8, 8), torch.tensor([[0.0, 0, 0, 7, 5]]))), 4 * 4 * 2 * 9),
    "roi_pool": ((ops.RoIPool(3, 1.0), (R(1, 5, 8, 8), torch.tensor([[0.0, 0, 0, 7, 5]]))), 0),
}


@pytest.mark.parametrize("name", [*BY_TORCH, *NOT_BY_TORCH])
def test_operator_by_hand_and_as_executed(name):
    (module, inputs), macs = {**BY_TORCH, **NOT_BY_TORCH}[name]
    assert count_macs(module, inputs).total == macs
    assert executed(module, *inputs) == macs
    if name in BY_TORCH:
        assert torch_macs(module, *inputs) == macs


@pytest.mark.parametrize("path", [None, [0, 1, 0, 1, 0, 1], [1, 3, 0, 2, 0, 1], [2, 3, 1, 2, 0, 1]])
def test_einsum_of_four_follows_the_path(path):
    module = Function(lambda *a: torch._VF.einsum("ab,bc,cd,de->ae", a, path=path))
    operands = R(2, 3), R(3, 4), R(4, 5), R(5, 6)
    assert count_macs(module, operands).total == torch_macs(module, *operands) > 0


def test_gru_costs_as_its_cell_unrolled():
    class Unrolled(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(6, 8)

        def forward(self, x):
            state = None
            for step in x.unbind(0):
                state = self.cell(step, state)
            return state

    x = R(5, 3, 6)
    assert count_macs(nn.GRU(6, 8), (x,)).total == count_macs(Unrolled(), (x,)).total


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_packed_sequences_cost_their_lengths(kind):
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = kind(6, 8)

        def forward(self, x):
            return self.rnn(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3, 2])))

    gates = {nn.GRU: 3, nn.LSTM: 4}[kind]
    module, x = Packed(), R(5, 3, 6)
    assert count_macs(module, (x,)).total == executed(module, x) == (5 + 3 + 2) * gates * 8 * 14


class SelfAttention(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.attention, self.need_weights = nn.MultiheadAttention(16, 4, batch_first=True), need_weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.need_weights)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("fast_path", [True, False])
def test_attention_in_eval(need_weights, fast_path):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast_path)
    try:
        module, x = SelfAttention(need_weights), R(1, 10, 16)
        count = count_macs(module, (x,))
        assert count.total == executed(module, x) == 4 * 10 * 16 * 16 + 2 * 10 * 10 * 16
        assert torch.backends.mha.get_fastpath_enabled() is fast_path
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype")
def test_encoder_that_skips_padding_is_seen_when_executed():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)
    mask = torch.arange(10)[None] >= torch.tensor([[10], [6]])

    def by_hand(length):
        return 2 * (length * (4 * 16 * 16 + 2 * 16 * 32) + 2 * length**2 * 16)

    with torch.no_grad():
        ran = executed_macs(lambda: encoder.eval()(R(2, 10, 16), src_key_padding_mask=mask))
    assert ran == by_hand(10) + by_hand(6)
    assert count_macs(encoder, (R(2, 10, 16), None, mask)).total == 2 * by_hand(10)


def test_elementwise_stays_out_of_the_total():
    count = count_macs(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.SiLU(), nn.AvgPool2d(2)), (R(1, 3, 6, 6),)
    )
    assert count.by_operator == {"conv": 3 * 4 * 36}
    assert count.elementwise == 3 * 4 * 36
    assert count.by_module == {"": 432, "0": 432, "1": 0, "2": 0, "3": 0}


def vit():
    return models.VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)


def convnext():
    return models.ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)])


def swin3d():
    return models.video.SwinTransformer3d([2, 4, 4], 16, [2, 2], [2, 4], window_size=[2, 2, 2])


def mvit():
    blocks = [MSBlockConfig(1, 8, 8, [3] * 3, [3] * 3, [1] * 3, [1, 2, 2]),
              MSBlockConfig(2, 8, 16, [3] * 3, [3] * 3, [1, 2, 2], [1] * 3)]  # fmt: skip
    return MViT((32, 32), 4, blocks, residual_pool=True, residual_with_cls_embed=False, rel_pos_embed=True,
                proj_after_attn=True)  # fmt: skip


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (models.resnet18, (1, 3, 32, 32)),
        (models.mobilenet_v3_small, (1, 3, 32, 32)),
        (convnext, (1, 3, 32, 32)),
        (vit, (1, 3, 32, 32)),
        (swin3d, (1, 3, 4, 32, 32)),
        (mvit, (1, 3, 4, 32, 32)),
        (models.video.r2plus1d_18, (1, 3, 2, 16, 16)),
    ],
)
def test_networks_static_equals_executed(build, shape):
    network = build()
    assert count_macs(network, (R(shape),)).total == executed(network, R(shape)) > 0


def test_detector_static_equals_executed():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=16), nn.ReLU())
    backbone.out_channels = 8
    network = models.detection.FasterRCNN(
        backbone,
        num_classes=3,
        min_size=64,
        max_size=64,
        rpn_anchor_generator=AnchorGenerator(((16, 32),), ((0.5, 1.0),)),
        box_roi_pool=ops.MultiScaleRoIAlign(["0"], 3, 2),
    )
    images = [R(3, 64, 64)]
    count = count_macs(network, (images,))
    assert count.total == executed(network, images)
    assert count.by_operator["roi_align"] > 0


def test_resnet18_as_published():
    count = count_macs(models.resnet18(), (R(1, 3, 224, 224),))
    assert round(count.total / 1e9, 2) == 1.81  # torchvision's table of weights
    assert count.by_module["layer1"] == 4 * 56 * 56 * 64 * 64 * 9


def test_state_is_left_as_it_was():
    class Model(nn.Sequential):
        def forward(self, x):
            self.last, self[0].bias.requires_grad = x, False
            self[1].running_mean += torch.rand(4)
            self[1].extra = self[1].running_var
            self[1].register_buffer("running_var", torch.zeros(4))
            return super().forward(x)

    model = Model(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    model.last = None
    model[0].eval()
    model[2].register_forward_hook(lambda *_: None)
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    running_var = model[1].running_var
    torch.manual_seed(3)
    state = torch.get_rng_state()
    x = R(2, 3, 8, 8)
    state, given = torch.get_rng_state(), x.clone()

    def untouched():
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
        assert model[1].running_var is running_var and not hasattr(model[1], "extra") and model.last is None
        assert modes == [m.training for m in model.modules()]
        assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
        assert torch.equal(state, torch.get_rng_state()) and torch.equal(x, given) and torch.is_grad_enabled()

    assert count_macs(model, (x,)).total > 0
    untouched()
    with pytest.raises(RuntimeError):
        count_macs(model, (x[:, :2],))
    untouched()


def test_requires_grad_is_left_as_it_was():
    class Freezes(nn.Linear):
        def forward(self, x):
            self.weight.requires_grad_(False)
            return super().forward(x)

    model = Freezes(3, 4)
    count_macs(model, (R(2, 3),))
    assert model.weight.requires_grad


def test_nothing_is_logged(caplog, capfd):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.used(x) if x.sum() > 0 and x.shape[0] == 2 else self.unused(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert count_macs(Branches(), (R(2, 4),)).total == 32
    assert not caplog.records and not any(capfd.readouterr())


class Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        return x @ w


@pytest.mark.parametrize(
    ("function", "inputs", "name"),
    [
        (torch.fft.rfft, (R(2, 8),), "aten::fft_rfft"),
        (Multiply.apply, (R(2, 3), R(3, 4)), "prim::PythonOp.Multiply"),  # its product is seen
        (torch.cdist, (R(2, 30, 4), R(2, 30, 4)), "aten::cdist"),
        (lambda x: ops.roi_align(x, [R(1, 4) * 8], 3, sampling_ratio=-1), (R(1, 3, 8, 8),), "torchvision::roi_align"),
    ],
)
def test_uncounted_operator(function, inputs, name):
    with pytest.raises(UncountedOpError, match=rf"{name} \(1x\).*allow_uncounted=\['{name}'\]"):
        count_macs(Function(function), inputs)
    count = count_macs(Function(function), inputs, allow_uncounted=[name])
    assert count.total == (24 if "PythonOp" in name else 0)
    assert count.uncounted == {name: 1}


def test_adaptive_roi_align_executed():
    boxes = torch.tensor([[0.0, 0, 0, 7, 5], [0, 1, 1, 4, 8]])
    macs = executed(
        Function(lambda x, b: ops.roi_align(x, b, (3, 2), sampling_ratio=0, aligned=True)), R(1, 5, 8, 8), boxes
    )
    # Bins 5/3 high and 7/2 wide, then 7/3 and 3/2: 2 x 4 and 3 x 2 samples.
    assert macs == 4 * (2 * 4 + 3 * 2) * 5 * 3 * 2


def test_torchscript_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Linear(3, 4))
    with pytest.raises(UserError, match="MACs of 1: it is TorchScript"):
        count_macs(nn.Sequential(nn.ReLU(), scripted), (R(2, 3),))


@dataclass
class Result:
    logits: torch.Tensor | None = None
    missing: None = None


def test_dicts_in_and_dataclasses_out():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(4, 5)

        def forward(self, batch):
            return Result(self.module(batch["inputs"]["rgb"]))

    batch = {"inputs": {"rgb": R(2, 4), "audio": None}, "ids": ["a", "b"], "present": 3}
    count = count_macs(Model(), (batch,))
    assert count.by_module == {"": 40, "module": 40}
    assert executed(Model(), batch) == 40


class Adaptive(nn.Module):
    """A policy decides in Python which expert runs; nothing of the policy reaches the output."""

    def __init__(self):
        super().__init__()
        self.policy, self.small, self.large = nn.Linear(4, 1), nn.Linear(4, 4), nn.Linear(4, 64)
        nn.init.ones_(self.policy.weight)
        nn.init.zeros_(self.policy.bias)

    def forward(self, x):
        return self.large(x) if bool(self.policy(x).sum() > 0) else self.small(x)


def test_policy_is_counted_and_branches_are_seen():
    model, x = Adaptive(), torch.ones(2, 4)
    assert count_macs(model, (x,)).total == executed(model, x) == 2 * 4 * (1 + 64)
    assert executed(model, -x) == count_macs(model, (-x,)).total == 2 * 4 * (1 + 4)
    assert executed_macs(lambda: None) == 0


COSTS = {"glance": 10**9, "focus": 4 * 10**9}


def test_macs_per_row():
    usage = {"focus": torch.tensor([0, 1, 3])}
    assert macs_per_row(usage, COSTS, 3).tolist() == [1e9, 5e9, 13e9]
    assert macs_per_row(None, COSTS, 2).tolist() == [5e9, 5e9]
    assert macs_per_row({"a": torch.tensor([3.0])}, {"a": 2**53 // 3}, 1).item() == 2**53 // 3 * 3
    with pytest.raises(UserError, match=r"fokus.*glance, focus"):
        macs_per_row({"fokus": torch.ones(1)}, COSTS, 1)
    with pytest.raises(UserError, match=r"focus.*\(2,\).*\(3,\)"):
        macs_per_row({"focus": torch.ones(2)}, COSTS, 3)


def gmacs(metric):
    return [round(v.item(), 6) for v in metric.compute().values()]


def test_video_cost_by_hand():
    metric = VideoCost()
    metric.update(["a", "b"], {"focus": torch.tensor([0, 1])}, COSTS)
    metric.update(["b", "c"], {"focus": torch.tensor([2, 0])}, COSTS)
    # a 1, b 5 + 9, c 1
    assert gmacs(metric) == [round(16 / 3, 6), 1.0, 12.7]
    metric = VideoCost()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert torch.isnan(metric.compute()["gmacs"])


def test_two_processes_equal_one():
    rows = [("a", 0, 0), ("b", 0, 1), ("a", 1, 2), ("c", 0, 5), ("b", 1, 0)]

    def add(metric, part):
        ids, views, runs = zip(*part, strict=True)
        metric.update(list(ids), {"focus": torch.tensor(runs)}, COSTS, torch.tensor(views))

    one, second = VideoCost(), VideoCost()
    add(one, rows)
    add(second, rows[1::2])
    add(second, rows[:1])  # what a distributed sampler pads with
    theirs = (dim_zero_cat(getattr(second, state)) for state in second._reductions)
    first = VideoCost(dist_sync_fn=lambda mine, group: [mine, next(theirs)], distributed_available_fn=lambda: True)
    add(first, rows[::2])
    assert gmacs(first) == gmacs(one)


def test_process_without_rows_has_states_of_the_right_dtype():
    idle, busy = VideoCost(), VideoCost()
    busy.update(["a"], None, COSTS)
    busy.reset()
    for metric in (idle, busy):
        assert [dim_zero_cat(getattr(metric, s)).dtype for s in ("videos", "macs")] == [torch.int64, torch.float64]


def test_table():
    shared = nn.Linear(3, 4)
    components = {"glance": (nn.Sequential(shared), 1_500_000_000), "focus": (nn.Sequential(shared, nn.ReLU()), 10**9)}
    assert parameters(nn.Sequential(shared, shared)) == 16

    def text(**options):
        console = Console(width=80, file=io.StringIO())
        console.print(cost_table("tiny", components, **options))
        return console.file.getvalue()

    def total(table):
        return next(line.replace("│", " ").split() for line in table.splitlines() if "total" in line)

    assert "GMACs" in text() and "runs" not in text()
    assert total(text()) == ["total", "16", "2.5"]
    assert "runs" in text(runs={"focus": 0.5})
    assert total(text(runs={"focus": 0.5})) == ["total", "16", "2"]
