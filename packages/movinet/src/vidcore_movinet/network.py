"""MoViNet, for whole clips and for streams."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, get_args

import torch
from torch import Tensor, nn

from vidcore.errors import UserError
from vidcore.nn import Kernel, check_clip, checkpointed, draw_weights, set_bn_momentum
from vidcore.streaming import State
from vidcore_movinet.folding import fold
from vidcore_movinet.layers import Bottleneck, conv_norm
from vidcore_movinet.stream import (
    CausalSqueezeExcite,
    ImageConvNorm,
    PositionalEncoding,
    StreamBottleneck,
    running_means,
)
from vidcore_movinet.variants import Head, Variant, find_variant

SLOPE = 1 / 6
"""Slope of the gates' hard sigmoid in the official code."""


class MoViNet(nn.Module):
    """MoViNet A0 to A5 or T0: "base" networks see past and future of a clip, "stream" networks the past only.

    Kondratyuk et al., CVPR 2021 (arXiv:2103.11511), as in the authors' released code. Any number of frames and any
    height and width work; the published accuracy belongs to those of :data:`~vidcore_movinet.variants.VARIANTS`.

    A stream network gives the same logits for a clip as a whole (:meth:`forward`) and in pieces (:meth:`step`); what it
    remembers between the pieces is given and returned, never kept in the module.

    A new network's residual branches are multiplied by scalars that start at 0, so that it only passes on its skip
    connections until training (or loaded weights) opens them.

    Args:
        variant: ``t0``, ``a0`` to ``a5``.
        num_classes: Number of classes K.
        stream: Whether it streams.
        dropout: Probability before the classifier; None: the variant's own.
        stochastic_depth: Probability with which training leaves out the last layer's residual branch for a sample;
            falls linearly to the first layer's.
        bn_momentum: Weight of the newest batch in the running statistics of batch normalisation.
        checkpointing: Less memory in training, more time: layers are computed again in the backward pass.
        factorised: Of a stream network: (2+1)D convolutions and gates that see each frame, as released since July 2021;
            False: 3D convolutions and gates that see the mean only, as before.
        gate_slope: Slope of a stream network's gates ``clip(slope · x + 0.5, 0, 1)``: 1/6 in the official code, 0.2 in
            the released weights.
        head: Activation before a stream network's classifier: ``swish``, the official default, or ``hard_swish``, as in
            the rest of the network; :attr:`Variant.stream_head` is what the authors' configuration trains it with. A
            base network has swish throughout.

    Raises:
        UserError: Unknown variant or head, a slope that is not a positive number, or ``hard_swish`` or another slope
            for a base network.
    """

    def __init__(
        self,
        variant: str = "a0",
        num_classes: int = 600,
        stream: bool = False,
        dropout: float | None = None,
        stochastic_depth: float = 0.2,
        bn_momentum: float = 0.01,
        checkpointing: bool = False,
        factorised: bool = True,
        gate_slope: float = SLOPE,
        head: Head = "swish",
    ) -> None:
        super().__init__()
        _check_activations(stream, gate_slope, head)
        spec = find_variant(variant)
        self.stream, self.factorised, self.checkpointing = stream, stream and factorised, checkpointing

        def layer(width: int, expand: int, out: int, kernel: Kernel, stride: int, drop: float) -> nn.Module:
            if not stream:
                return Bottleneck(width, expand, out, kernel, stride, drop)
            return StreamBottleneck(
                width, expand, out, kernel, stride, drop, factorised, spec.positional_encoding, gate_slope
            )

        self.stem = ImageConvNorm(3, spec.stem, 3, 2) if stream else conv_norm(3, spec.stem, (1, 3, 3), (1, 2, 2))
        self.layers = nn.Sequential(_layers(spec, stochastic_depth, layer))
        width = spec.blocks[-1].width
        self.project = ImageConvNorm(width, spec.project) if stream else conv_norm(width, spec.project)
        self.dense = nn.Linear(spec.project, spec.dense)
        self.dropout = nn.Dropout(spec.dropout if dropout is None else dropout)
        self.classifier = nn.Linear(spec.dense, num_classes)

        self.use_activations(gate_slope, head)
        set_bn_momentum(self, bn_momentum)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights: He's truncated normal; N(0, 0.01²) in the classifier; 0 for biases and learned scales."""
        draw_weights(self, 2)
        for module in self.modules():
            if isinstance(module, (Bottleneck, StreamBottleneck, PositionalEncoding)):
                nn.init.zeros_(module.scale)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def use_activations(self, gate_slope: float, head: Head) -> None:
        """Set the activations that a stream network's weights were trained with; a base network has no choice.

        The state dict holds them (``_extra_state``), so that weights always run with their own activations.

        Raises:
            UserError: Unknown head, or a slope that is not a positive number.
        """
        if not self.stream:
            gate_slope, head = SLOPE, "swish"
        _check_activations(self.stream, gate_slope, head)
        self.gate_slope, self.head = gate_slope, head
        self.activation = nn.Hardswish() if self.stream and head == "hard_swish" else nn.SiLU()
        for module in self.modules():
            if isinstance(module, CausalSqueezeExcite):
                module.gate_slope = gate_slope

    def get_extra_state(self) -> Tensor:
        """Slope of the gates, and whether the head has swish."""
        return torch.tensor([self.gate_slope, self.head == "swish"], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """See :meth:`use_activations`."""
        slope, swish = state.tolist()
        self.use_activations(slope, "swish" if swish else "hard_swish")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Weights that do not say what they were trained with meet what this network has.
        state_dict.setdefault(f"{prefix}_extra_state", self.get_extra_state())
        super()._load_from_state_dict(state_dict, prefix, *args)

    def folded(self) -> MoViNet:
        """A copy for inference, in eval mode: normalisation and learned scales are in the convolutions' weights.

        It computes the same in fewer steps; it cannot be trained, and its state dict is no other network's.
        """
        net = copy.deepcopy(self).eval()
        fold(net)
        return net

    def forward(self, clip: Tensor) -> Tensor:
        """Classifies clips.

        Args:
            clip: (B, 3, T, H, W) RGB in [0, 1].

        Returns:
            (B, K) logits.

        Raises:
            UserError: Another rank or number of channels.
        """
        check_clip(clip, "MoViNet")
        if self.stream:
            return self.step(clip, self.init_state(len(clip), (clip.shape[3], clip.shape[4])))[0]
        x = self.stem(clip)  # (B, C, T, H/2, W/2), rounded up, as everywhere
        for layer in self.layers:
            x = checkpointed(layer, x) if self.checkpointing and self.training else layer(x)
        x = self.project(x)  # (B, P, T, H/32, W/32)
        return self.classify(x.mean((2, 3, 4)))

    def classify(self, features: Tensor) -> Tensor:
        """From features (..., P), averaged over time and space, to logits (..., K)."""
        features = features.to(self.dense.weight.dtype)  # running means are float32 whatever the network is
        return self.classifier(self.dropout(self.activation(self.dense(features))))

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """What a stream network remembers before the first frame: zeros.

        Args:
            batch_size: Number of streams B.
            size: Height and width of the frames.

        Returns:
            Tensors of B rows each, on the network's device: ``seen``, the number of frames so far; ``LAYER.agoN``, the
            input of a layer's convolution over time N frames ago, (B, H, W, C); ``LAYER.mean`` and ``head.mean``, the
            mean of a layer's features so far. A row of zeros is a stream that begins anew. Inputs have the network's
            dtype, numbers and means are float32.

        Raises:
            UserError: The network does not stream.
        """
        if not self.stream:
            raise UserError("a base MoViNet sees clips as a whole: MoViNet(..., stream=True) streams")
        shapes: dict[str, tuple[int, ...]] = {"seen": ()}
        height, width = -(-size[0] // 2), -(-size[1] // 2)
        for name, layer in self._bottlenecks():
            shapes |= {f"{name}.{key}": shape for key, shape in layer.shapes((height, width)).items()}
            height, width = layer.output_size((height, width))
        shapes["head.mean"] = (self.dense.in_features,)
        weight = self.dense.weight
        dtypes = {name: weight.dtype if ".ago" in name else torch.float32 for name in shapes}
        return {
            name: torch.zeros(batch_size, *shape, dtype=dtypes[name], device=weight.device)
            for name, shape in shapes.items()
        }

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Takes the next frames of each stream.

        Args:
            frames: (B, 3, t, H, W) RGB in [0, 1], any t; each frame once.
            state: From :meth:`init_state` for the same B, H and W, or the last step's; it is not changed.

        Returns:
            (B, K) logits after the last frame, and the new state.

        Raises:
            UserError: The network does not stream, or the frames do not fit the state.
        """
        means, state = self.features(frames, state)
        return self.classify(means[:, -1]), state

    def features(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """As :meth:`step`, with the features of all that was seen up to each frame, (B, t, P), in place of logits."""
        self._check(frames, state)
        after = {"seen": state["seen"] + frames.shape[2]}
        numbers = state["seen"][:, None] + torch.arange(1, frames.shape[2] + 1, device=frames.device)
        numbers = numbers.view(-1, 1)  # (B·t, 1)
        x = self.stem(frames.permute(0, 2, 3, 4, 1).flatten(0, 1).contiguous())
        for name, layer in self._bottlenecks():
            inputs = (x, {key: state[f"{name}.{key}"] for key in layer.state_names}, numbers)
            x, new = checkpointed(layer, *inputs) if self.checkpointing and self.training else layer(*inputs)
            for key, value in new.items():
                after[f"{name}.{key}"] = value
        means, after["head.mean"] = running_means(self.project(x).mean((1, 2)), state["head.mean"], numbers)
        return means.unflatten(0, (len(frames), -1)), after

    def _bottlenecks(self) -> Iterator[tuple[str, StreamBottleneck]]:
        yield from self.layers.named_children()  # type: ignore[misc]

    def _check(self, frames: Tensor, state: State) -> None:
        check_clip(frames, "MoViNet")
        if not self.stream:
            raise UserError("a base MoViNet sees clips as a whole: MoViNet(..., stream=True) streams")
        if len(frames) != len(state["seen"]):
            raise UserError(f"frames of {len(frames)} streams, but the state of {len(state['seen'])}")


def _check_activations(stream: bool, gate_slope: float, head: str) -> None:
    if head not in get_args(Head):
        raise UserError(f"head must be one of {', '.join(get_args(Head))}, got {head!r}")
    if not (isinstance(gate_slope, (int, float)) and 0 < gate_slope < math.inf):
        raise UserError(
            f"gate_slope must be a positive number (1/6 in the official code, 0.2 in the released weights), "
            f"got {gate_slope!r}"
        )
    if not stream and (gate_slope, head) != (SLOPE, "swish"):
        raise UserError(
            "head and gate_slope apply to stream networks only (a base network has swish and sigmoid throughout): "
            "add --model.stream true or leave them out"
        )


def _layers(
    spec: Variant, stochastic_depth: float, layer: Callable[[int, int, int, Kernel, int, float], nn.Module]
) -> OrderedDict[str, nn.Module]:
    """The bottlenecks by name, ``b0_l0`` and so on."""
    depth = sum(len(block.expand) for block in spec.blocks)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = spec.stem
    for b, block in enumerate(spec.blocks):
        for i, (expand, kernel) in enumerate(zip(block.expand, block.kernels, strict=True)):
            drop = stochastic_depth * (len(layers) + 1) / depth
            stride = block.stride if i == 0 else 1
            layers[f"b{b}_l{i}"] = layer(width, expand, block.width, kernel, stride, drop)
            width = block.width
    return layers
