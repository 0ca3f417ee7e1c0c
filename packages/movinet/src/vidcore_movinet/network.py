"""The MoViNet network, base and stream."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vidcore.errors import UserError
from vidcore.nn import check_clip, checkpointed, draw_weights, set_bn_momentum
from vidcore.streaming import State
from vidcore_movinet.folding import fold
from vidcore_movinet.layers import Bottleneck, conv_norm
from vidcore_movinet.stream import (
    CausalSqueezeExcite,
    ImageConvNorm,
    PositionalEncoding,
    StreamBottleneck,
    cumulative_average,
)
from vidcore_movinet.variants import SLOPE, Head, MoViNetConfig


class MoViNet(nn.Module):
    """MoViNet A0 to A5 and T0 (Kondratyuk et al., CVPR 2021, arXiv:2103.11511), as in the authors' released code.

    Base networks process whole clips. Stream networks are causal: each frame's output depends on this and earlier
    frames only. They compute the same logits from a whole clip ([`forward`][vidcore_movinet.MoViNet.forward]) and from
    consecutive pieces of it ([`step`][vidcore_movinet.MoViNet.step]). Clips can have any number of frames and any
    height and width; the published accuracy belongs to the clips of [`VARIANTS`][vidcore_movinet.VARIANTS].

    Residual branches are multiplied by learned scalars whose initial value is 0: until training or loaded weights
    change them, only the skip connections contribute.

    Args:
        *args: Fields of [`MoViNetConfig`][vidcore_movinet.MoViNetConfig] in order, instead of ``config``.
        config: Configuration of the network. Default: built from the other arguments.
        **options: Fields of [`MoViNetConfig`][vidcore_movinet.MoViNetConfig] by name, instead of ``config``.

    Raises:
        OptionError: An option has an invalid value.

    Example:
        >>> net = MoViNet(variant="a0", num_classes=3, stream=True).eval()
        >>> state = net.init_state(batch_size=1, size=(64, 64))
        >>> logits, state = net.step(torch.zeros(1, 3, 1, 64, 64), state)
        >>> logits.shape
        torch.Size([1, 3])
    """

    def __init__(self, *args: Any, config: MoViNetConfig | None = None, **options: Any) -> None:
        super().__init__()
        self.config = config = config or MoViNetConfig(*args, **options)
        self.checkpointing = config.checkpointing
        spec = config.spec
        width = spec.blocks[-1].width
        self.stem: nn.Module
        self.project: nn.Module
        if config.stream:
            self.stem, self.project = ImageConvNorm(3, spec.stem, 3, 2), ImageConvNorm(width, spec.project)
        else:
            self.stem, self.project = conv_norm(3, spec.stem, (1, 3, 3), (1, 2, 2)), conv_norm(width, spec.project)
        self.layers = nn.Sequential(self._layers())
        self.dense = nn.Linear(spec.project, spec.dense)
        self.activation: nn.Module = nn.SiLU()
        self.dropout = nn.Dropout(spec.dropout if config.dropout is None else config.dropout)
        self.classifier = nn.Linear(spec.dense, config.num_classes)

        self.use_activations(config.gate_slope, config.head)
        set_bn_momentum(self, config.bn_momentum)
        self.reset_parameters()

    def _layers(self) -> OrderedDict[str, nn.Module]:
        config, layers = self.config, self.config.spec.layers()
        built: OrderedDict[str, nn.Module] = OrderedDict()
        for number, layer in enumerate(layers, start=1):
            drop = config.stochastic_depth * number / len(layers)
            shape = (layer.in_channels, layer.expand, layer.out_channels, layer.kernel, layer.stride, drop)
            if config.stream:
                position = config.spec.positional_encoding
                built[layer.name] = StreamBottleneck(*shape, config.factorised, position, config.gate_slope)
            else:
                built[layer.name] = Bottleneck(*shape)
        return built

    @property
    def stream(self) -> bool:
        """Whether this is a stream network."""
        return self.config.stream

    @property
    def factorised(self) -> bool:
        """Whether this is a stream network with (2+1)D convolutions."""
        return self.config.stream and self.config.factorised

    @property
    def head(self) -> Head:
        """Activation before the classifier."""
        return self.config.head

    @property
    def gate_slope(self) -> float:
        """Slope of the hard sigmoid of squeeze-and-excitation in a stream network."""
        return self.config.gate_slope

    def reset_parameters(self) -> None:
        """Initialise the weights.

        He's truncated normal distribution; N(0, 0.01²) for the classifier's weights, 0 for biases and the learned
        scalars.
        """
        draw_weights(self, 2)
        for module in self.modules():
            if isinstance(module, (Bottleneck, StreamBottleneck, PositionalEncoding)):
                nn.init.zeros_(module.scale)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def use_activations(self, gate_slope: float, head: Head) -> None:
        """Set the activations with which the weights of a stream network were trained; ignored by base networks.

        The state dict holds them as ``_extra_state``, so that weights are always used with their own activations.

        Raises:
            OptionError: ``head`` is unknown, or ``gate_slope`` is not a positive number.
        """
        if not self.stream:
            gate_slope, head = SLOPE, "swish"
        self.config = replace(self.config, gate_slope=gate_slope, head=head)
        self.activation = nn.Hardswish() if head == "hard_swish" else nn.SiLU()
        for module in self.modules():
            if isinstance(module, CausalSqueezeExcite):
                module.gate_slope = gate_slope

    def get_extra_state(self) -> Tensor:
        """Return ``gate_slope``, and 1 if ``head`` is swish, else 0."""
        return torch.tensor([self.gate_slope, self.head == "swish"], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Set the activations of a state dict; see [`use_activations`][vidcore_movinet.MoViNet.use_activations]."""
        slope, swish = state.tolist()
        self.use_activations(slope, "swish" if swish else "hard_swish")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # State dicts without activations leave those of the network unchanged.
        state_dict.setdefault(f"{prefix}_extra_state", self.get_extra_state())
        super()._load_from_state_dict(state_dict, prefix, *args)

    def folded(self) -> MoViNet:
        """Return a copy for inference in eval mode, with batch normalisation and learned scalars merged into weights.

        It computes the same outputs in fewer operations; see ``vidcore_movinet.folding``. It cannot be trained, and
        its state dict fits no other network.
        """
        net = copy.deepcopy(self).eval()
        fold(net)
        return net

    def forward(self, clip: Tensor) -> Tensor:
        """Classify clips.

        Args:
            clip: (B, 3, T, H, W) float, RGB in [0, 1].

        Returns:
            (B, K) logits.

        Raises:
            UserError: ``clip`` has another number of dimensions or channels.
        """
        check_clip(clip, "MoViNet")
        if self.stream:
            return self.step(clip, self.init_state(len(clip), (clip.shape[3], clip.shape[4])))[0]
        x = self.stem(clip)  # (B, C, T, H/2, W/2); all sizes are rounded up
        for layer in self.layers:
            x = checkpointed(layer, x) if self.checkpointing and self.training else layer(x)
        x = self.project(x)  # (B, P, T, H/32, W/32)
        return self.classify(x.mean((2, 3, 4)))

    def classify(self, features: Tensor) -> Tensor:
        """Compute logits (..., K) from features (..., P), averaged over time and space."""
        features = features.to(self.dense.weight.dtype)  # cumulative averages are always float32
        return self.classifier(self.dropout(self.activation(self.dense(features))))

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """Return the initial state of a stream network: zeros.

        Args:
            batch_size: B, number of videos.
            size: Height and width of the frames in pixels.

        Returns:
            Tensors of B rows each, on the network's device: ``seen`` (B,), the number of frames so far; ``LAYER.agoN``
            (B, H, W, C), the stream buffer of a layer's temporal convolution: its input N frames ago; ``LAYER.mean``
            (B, C) and ``head.mean`` (B, P), the cumulative averages. Stream buffers have the network's dtype, the
            others are float32. To start a new video in one row, set the row to zeros.

        Raises:
            UserError: This is a base network.
        """
        self._check_stream()
        shapes: dict[str, tuple[int, ...]] = {"seen": ()}
        height, width = -(-size[0] // 2), -(-size[1] // 2)  # behind the stem, rounded up
        for layer in self.config.spec.layers():
            shapes[f"{layer.name}.mean"] = (layer.expand,)
            before = (height, width)
            height, width = -(-height // layer.stride), -(-width // layer.stride)
            buffer = (height, width) if self.factorised else before
            for ago in range(layer.kernel[0] - 1, 0, -1):
                shapes[f"{layer.name}.ago{ago}"] = (*buffer, layer.expand)
        shapes["head.mean"] = (self.dense.in_features,)
        weight = self.dense.weight
        dtypes = {name: weight.dtype if ".ago" in name else torch.float32 for name in shapes}
        return {
            name: torch.zeros(batch_size, *shape, dtype=dtypes[name], device=weight.device)
            for name, shape in shapes.items()
        }

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Process the next frames of each video.

        Args:
            frames: (B, 3, t, H, W) float, RGB in [0, 1]; any number of frames, each frame of a video once.
            state: From [`init_state`][vidcore_movinet.MoViNet.init_state] for the same B, H and W, or from the last
                step. It is not modified.

        Returns:
            (B, K) logits after the last frame, and the new state.

        Raises:
            UserError: This is a base network, or the frames do not fit the state.
        """
        averages, state = self.features(frames, state)
        return self.classify(averages[:, -1]), state

    def features(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the features up to and including each frame, (B, t, P), and the new state; see ``step``."""
        self._check_stream()
        check_clip(frames, "MoViNet")
        if len(frames) != len(state["seen"]):
            raise UserError(
                f"frames and state must have the same batch size, got {len(frames)} and {len(state['seen'])}"
            )
        after = {"seen": state["seen"] + frames.shape[2]}
        counts = state["seen"][:, None] + torch.arange(1, frames.shape[2] + 1, device=frames.device)
        counts = counts.view(-1, 1)  # (B·t, 1)
        x = self.stem(frames.permute(0, 2, 3, 4, 1).flatten(0, 1).contiguous())  # (B·t, H/2, W/2, C)
        for name, layer in self.layers.named_children():
            inputs = (x, {key: state[f"{name}.{key}"] for key in layer.state_names}, counts)  # type: ignore[union-attr]
            x, new = checkpointed(layer, *inputs) if self.checkpointing and self.training else layer(*inputs)
            for key, value in new.items():
                after[f"{name}.{key}"] = value
        x = self.project(x).mean((1, 2))  # (B·t, P)
        averages, after["head.mean"] = cumulative_average(x, state["head.mean"], counts)
        return averages.unflatten(0, (len(frames), -1)), after

    def _check_stream(self) -> None:
        if not self.stream:
            raise UserError("a base MoViNet cannot process a video frame by frame: use MoViNet(..., stream=True)")
