"""Stream networks: pieces give the outputs of the whole clip, outputs are causal, rows are independent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vidcore.errors import UserError
from vidcore.streaming import stream
from vidcore_movinet.network import MoViNet
from vidcore_movinet.stream import CausalConvNorm, PositionalEncoding, StreamBottleneck, cumulative_average
from vidcore_movinet.variants import VARIANTS

# Number of values in the state for the variant's clip, (2+1)D and 3D, counted with another implementation; vidcore's
# state has one more, the number of frames.
STATE = {
    "t0": (326_448, 736_848),
    "a0": (674_192, 1_290_320),
    "a1": (1_220_560, 1_951_312),
    "a2": (2_707_088, 4_005_392),
    "a3": (4_568_880, 6_424_368),
    "a4": (12_350_080, 15_639_040),
    "a5": (18_773_392, 25_157_392),
}
CLOSE = {"rtol": 0, "atol": 1e-5}


def randomised(variant: str, **options: bool) -> MoViNet:
    """Build a network with random scales of the residual branches and random batch normalisation."""
    torch.manual_seed(0)
    net = MoViNet(variant, num_classes=7, stream=True, **options).eval()
    for module in net.modules():
        if isinstance(module, (StreamBottleneck, PositionalEncoding)):
            nn.init.uniform_(module.scale, 0.3, 0.7)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
    nn.init.normal_(net.classifier.weight, std=0.05)
    return net


@pytest.fixture(scope="module", params=[("a0", True), ("a0", False), ("a3", True)], ids=["2plus1d", "3d", "a3"])
def net(request: pytest.FixtureRequest) -> MoViNet:
    variant, factorised = request.param
    return randomised(variant, factorised=factorised)


def flops(net: MoViNet, frames: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        net(frames)
    return counter.get_total_flops()


def clip(rows: int = 2, frames: int = 9, height: int = 40, width: int = 51) -> Tensor:
    return torch.rand(rows, 3, frames, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("chunks", [[1] * 9, [3, 3, 3], [8, 1], [1, 8], [2, 5, 1, 1]], ids=str)
def test_logits_after_all_chunks_equal_those_of_the_whole_clip(net: MoViNet, chunks: list[int]) -> None:
    with torch.no_grad():
        whole = net(clip())
    assert whole.std() > 0.01
    torch.testing.assert_close(stream(net, clip(), chunks)[:, -1], whole, **CLOSE)


@pytest.mark.parametrize("size", [(33, 64), (31, 97), (32, 32), (1, 5)], ids=str)
def test_any_size(net: MoViNet, size: tuple[int, int]) -> None:
    frames = clip(3, 5, *size)
    with torch.no_grad():
        torch.testing.assert_close(stream(net, frames, [1, 3, 1])[:, -1], net(frames), **CLOSE)


@torch.no_grad()
def test_logits_after_each_frame_equal_those_of_the_clip_so_far(net: MoViNet) -> None:
    frames = clip()
    streamed = stream(net, frames, [1] * 9)
    means, _ = net.features(frames, net.init_state(2, (40, 51)))
    torch.testing.assert_close(net.classify(means), streamed, **CLOSE)
    for length in (1, 2, 6):
        torch.testing.assert_close(net(frames[:, :, :length]), streamed[:, length - 1], **CLOSE)


def test_outputs_do_not_depend_on_later_frames(net: MoViNet) -> None:
    frames = clip()
    other = frames.clone()
    other[:, :, 5:] = 1 - other[:, :, 5:]
    with torch.no_grad():
        a, b = (net.features(x, net.init_state(2, (40, 51)))[0] for x in (frames, other))
    assert torch.equal(a[:, :5], b[:, :5])
    assert not torch.allclose(a[:, 5], b[:, 5])
    frames.requires_grad_()
    net.features(frames, net.init_state(2, (40, 51)))[0][:, 4].sum().backward()
    assert frames.grad is not None
    assert not frames.grad[:, :, 5:].any()
    assert all(frames.grad[:, :, frame].any() for frame in range(5))


@torch.no_grad()
def test_final_states_of_frames_and_whole_clip_are_equal(net: MoViNet) -> None:
    frames = clip()
    whole = net.step(frames, net.init_state(2, (40, 51)))[1]
    state = net.init_state(2, (40, 51))
    keys = set(state)
    for frame in frames.split(1, 2):
        before = {name: tensor.clone() for name, tensor in state.items()}
        _, after = net.step(frame, state)
        assert all(torch.equal(state[name], before[name]) for name in state), "step modified its input state"
        state = after
    assert set(state) == set(whole) == keys
    for name in state:
        torch.testing.assert_close(
            state[name], whole[name], rtol=1e-5, atol=1e-5, msg=lambda text, name=name: name + text
        )


@torch.no_grad()
def test_a_row_of_zeros_starts_a_new_video(net: MoViNet) -> None:
    frames = clip()
    _, state = net.step(frames[:, :, :4], net.init_state(2, (40, 51)))
    for tensor in state.values():
        tensor[0] = 0
    logits, _ = net.step(frames[:, :, 4:], state)
    torch.testing.assert_close(logits[:1], net(frames[:1, :, 4:]), **CLOSE)
    torch.testing.assert_close(logits[1:], net(frames[1:]), **CLOSE)


@torch.no_grad()
def test_states_of_several_videos_are_concatenated_to_a_batch(net: MoViNet) -> None:
    """The videos have had different numbers of frames."""
    frames = clip(3)
    states = [net.step(frames[row : row + 1, :, : row + 1], net.init_state(1, (40, 51)))[1] for row in range(3)]
    joined = {name: torch.cat([state[name] for state in states]) for name in states[0]}
    logits, _ = net.step(frames[:, :, 8:], joined)
    for row in range(3):
        alone, _ = net.step(frames[row : row + 1, :, 8:], states[row])
        torch.testing.assert_close(logits[row : row + 1], alone, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[1] * 9, [4, 5]], ids=str)
def test_folded_network_computes_the_same_without_batch_normalisation(net: MoViNet, chunks: list[int]) -> None:
    before = net(clip())
    folded = net.folded()
    expected = stream(net, clip(), chunks)
    assert float((stream(folded, clip(), chunks) - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    assert torch.equal(net(clip()), before), "folding modified the network itself"
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not [
        name for name, _ in folded.named_parameters() if name.endswith(("projection.conv.bias", "layers.b0_l0.scale"))
    ]
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert flops(folded, clip()) == flops(net, clip())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("factorised", [True, False])
def test_parameters_and_state(variant: str, factorised: bool) -> None:
    spec = VARIANTS[variant]
    with torch.device("meta"):
        net = MoViNet(variant, stream=True, factorised=factorised)
        state = net.init_state(1, (spec.size, spec.size))
    positions = sum(isinstance(module, PositionalEncoding) for module in net.modules())
    wanted = spec.stream_params if factorised else spec.params + positions
    assert sum(parameter.numel() for parameter in net.parameters()) == wanted
    assert sum(tensor.numel() for tensor in state.values()) == STATE[variant][0 if factorised else 1] + 1


def test_gradients_reach_all_parameters() -> None:
    net = randomised("a0").train()
    net(clip(2, 5, 32, 32)).square().sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@torch.no_grad()
def test_temporal_convolution_by_hand() -> None:
    layer = CausalConvNorm(2, 3)
    nn.init.normal_(layer.conv.weight)
    x = torch.randn(4, 3, 3, 2)  # one video of four frames
    got, state = layer.eval()(x, {name: torch.zeros(1, 3, 3, 2) for name in layer.state_names})
    padded = torch.cat([torch.zeros(2, 3, 3, 2), x])
    weight = layer.conv.weight.reshape(2, 3)
    expected = sum(padded[i : i + 4] * weight[:, i] for i in range(3)) / (1 + 1e-3) ** 0.5
    torch.testing.assert_close(got, nn.functional.hardswish(expected))
    assert torch.equal(state["ago1"], x[3:])
    assert torch.equal(state["ago2"], x[2:3])


def test_cumulative_average() -> None:
    values = torch.randn(2, 5, 3)
    mean, means = torch.zeros(2, 3), []
    for start, stop in [(0, 2), (2, 3), (3, 5)]:
        counts = torch.arange(start + 1.0, stop + 1).repeat(2)[:, None]
        some, mean = cumulative_average(values[:, start:stop].flatten(0, 1), mean, counts)
        means.append(some.unflatten(0, (2, -1)))
    expected = torch.stack([values[:, : i + 1].mean(1) for i in range(5)], 1)
    torch.testing.assert_close(torch.cat(means, 1), expected)
    assert torch.equal(mean, means[-1][:, -1])


def test_positional_encoding_by_hand() -> None:
    encoding = PositionalEncoding(4)
    nn.init.constant_(encoding.scale, 2.0)
    got = encoding(torch.tensor([[7.0]]))[0]
    expected = 2 * torch.tensor([7.0, 0.07, 7.0, 0.07])
    torch.testing.assert_close(got, torch.cat([2 * (expected[:2] / 2).sin(), 2 * (expected[2:] / 2).cos()]))


@torch.no_grad()
def test_cumulative_averages_are_float32_in_a_bfloat16_network() -> None:
    exact = randomised("a3")
    net = randomised("a3").to(torch.bfloat16)
    state = net.init_state(2, (40, 51))
    assert {state["seen"].dtype, state["b1_l0.mean"].dtype} == {torch.float32} and state[
        "b1_l0.ago1"
    ].dtype == torch.bfloat16
    with torch.no_grad():
        for frame in clip().split(1, 2):
            logits, after = net.step(frame.bfloat16(), state)
            assert {name: value.dtype for name, value in after.items()} == {
                name: value.dtype for name, value in state.items()
            }
            state = after
        whole = exact(clip())
    torch.testing.assert_close(logits.float(), whole, rtol=0, atol=0.05 * float(whole.abs().max()))


def test_cumulative_average_is_exact_after_ten_thousand_frames() -> None:
    mean, total = torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for number in range(1, 10_001):
        value = torch.rand(1, 3, generator=generator)
        total += value
        _, mean = cumulative_average(value, mean, torch.tensor([[float(number)]]))
    torch.testing.assert_close(mean.double(), total / 10_000, rtol=1e-5, atol=0)


def test_frames_must_fit_the_state() -> None:
    net = randomised("a0")
    state = net.init_state(2, (32, 32))
    with pytest.raises(UserError, match="same batch size, got 1 and 2"):
        net.step(clip(1, 1, 32, 32), state)
    with pytest.raises(UserError, match=r"must have the size .* \[8, 8\], the stream buffer is \[4, 4\]"):
        net.step(clip(2, 1, 64, 64), state)
    base = MoViNet("a0", num_classes=2)
    with pytest.raises(UserError, match="stream=True"):
        base.init_state(1, (32, 32))
    with pytest.raises(UserError, match="stream=True"):
        base.step(clip(1), {})
