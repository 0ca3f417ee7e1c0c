"""The LightningModule of MoViNet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from typing_extensions import Self

from vidcore.batch import Batch, Output
from vidcore.flops import parameters
from vidcore.module import VideoModule
from vidcore.streaming import State
from vidcore.task import Task
from vidcore.training.optim import Stage
from vidcore.weights import Weights
from vidcore.weights.checkpoint import naming
from vidcore.weights.tensorflow import is_tensorflow
from vidcore_movinet.network import MoViNet
from vidcore_movinet.variants import NETWORK_RANGES, SLOPE, VARIANTS, Head, MoViNetConfig, find_variant
from vidcore_movinet.weights import EARLIER, check_own_kind, kinetics600, published_weights, read_foreign

# Groups of layers from the last to the first: name of the stage, and patterns of parameter names.
_GROUPS = {
    "head": ("net.dense.*", "net.classifier.*"),
    "and b4": ("net.project.*", "net.layers.b4_*"),
    "and b3": ("net.layers.b3_*",),
    "and b2": ("net.layers.b2_*",),
    "and b1": ("net.layers.b1_*",),
    "all": ("net.layers.b0_*", "net.stem.*"),
}


class MoViNetModule(VideoModule):
    """MoViNet, base or stream, trained from scratch or fine-tuned from ``weights``.

    Args:
        task: Task of the data.
        variant: ``t0``, or ``a0`` to ``a5``.
        stream: Whether the model is a stream network ([`vidcore.streaming.Streaming`][]): causal, and able to
            process a video frame by frame.
        dropout: Dropout probability before the classifier. Default: the variant's.
        stochastic_depth: Probability of dropping the residual branch of the last layer in training. It decreases
            linearly to the first layer.
        bn_momentum: Weight of the current batch in the running statistics of batch normalisation. The official 0.01
            suits hundreds of thousands of training steps; a few hundred steps need about 0.1.
        checkpointing: Recompute activations in the backward pass, for less memory and more time. For A3 to A5.
        linear_probe: Train only the final linear layer.
        unfreeze: Number of epochs after which one more group of layers is trained, from the last to the first; training
            starts with the classifier alone. 0: all layers are trained from the start.
        head: Activation before the classifier of a stream network: ``swish``, the official default, or ``hard_swish``.
            Weights that specify their activations set ``head`` and ``gate_slope``: published weights, files of the
            PyTorch port, and vidcore's own.
        gate_slope: Slope of the hard sigmoid ``clip(slope · x + 0.5, 0, 1)`` of squeeze-and-excitation in a stream
            network: 1/6 in the official code, 0.2 in the released weights.
        **kwargs: See [`vidcore.VideoModule`][vidcore.module.VideoModule].

    Raises:
        OptionError: An option has an invalid value.
    """

    RANGES: ClassVar[dict[str, str]] = {**NETWORK_RANGES, "unfreeze": "[0, inf)"}
    streams_with = "--model.stream true"
    reference_task = Task("single_label", kinetics600())

    def __init__(
        self,
        task: Task,
        variant: str = "a0",
        stream: bool = False,
        dropout: float | None = None,
        stochastic_depth: float = 0.2,
        bn_momentum: float = 0.01,
        checkpointing: bool = False,
        linear_probe: bool = False,
        unfreeze: int = 0,
        head: Head = "swish",
        gate_slope: float = SLOPE,
        **kwargs: Any,
    ) -> None:
        self.variant, self.variant_name = find_variant(variant), variant
        super().__init__(task, self.variant.clip_spec, **kwargs)
        config = MoViNetConfig(
            variant=variant, num_classes=self.task.num_classes, stream=stream, dropout=dropout,
            stochastic_depth=stochastic_depth, bn_momentum=bn_momentum, checkpointing=checkpointing,
            gate_slope=gate_slope, head=head,
        )  # fmt: skip
        self.net = MoViNet(config=config)
        self.linear_probe, self._unfreeze = linear_probe, unfreeze
        if stream:  # not methods of the class: a base network must not fulfil the Streaming protocol
            self.init_state, self.step = self.net.init_state, self._step

    def forward(self, batch: Batch) -> Output:
        """Compute the logits of a batch of clips."""
        return Output(logits=self.net(batch["inputs"]["rgb"]))

    def _step(self, frames: Tensor, state: State) -> tuple[Output, State]:
        """See [`vidcore.streaming.Streaming.step`][]; components are per clip, so there is no ``usage``."""
        logits, state = self.net.step(frames, state)
        return Output(logits=logits), state

    def stages(self) -> Sequence[Stage]:
        """Return one stage for a linear probe, one per group of layers with ``unfreeze``, otherwise none."""
        if self.linear_probe:
            return (Stage("linear probe", 1, self.optim, ("net.classifier.*",)),)
        groups = _GROUPS if self._unfreeze else {}
        trained = itertools.accumulate(groups.values())
        return [Stage(name, self._unfreeze, self.optim, trains) for name, trains in zip(groups, trained, strict=True)]

    def published(self) -> dict[str, float]:
        """Return the published figures on Kinetics-600 if network, activations and clip are the published ones."""
        variant = self.variant
        if not self.is_reference() or (self.net.stream and not self._has_released_activations()):
            return {}
        params, top1 = (variant.params, variant.top1)
        if self.net.stream:
            params, top1 = variant.stream_params, variant.stream_top1
        figures = {"parameters": params, "gmacs": variant.gflops, "top1": top1}
        return {name: value for name, value in figures.items() if value is not None}

    def _has_released_activations(self) -> bool:
        """Whether head and slope are the official code's, the authors' configuration's or the released weights'."""
        known = [{}, {"head": self.variant.stream_head}, *(each.options for each in self.published_weights().values())]
        heads = [(each.get("head", "swish"), each.get("gate_slope", SLOPE)) for each in known]
        return any(
            self.net.head == head and math.isclose(self.net.gate_slope, slope, rel_tol=1e-6) for head, slope in heads
        )

    def for_inference(self) -> Self:
        """Return a copy with the folded network; see [`folded`][vidcore_movinet.MoViNet.folded]."""
        return self.with_net(self.net.folded())

    def published_weights(self) -> dict[str, Weights]:
        """Return the weights released for this variant by name; they were trained on Kinetics-600."""
        return published_weights(self.variant_name, self.net.stream)

    def read_weights(self, path: str | Path) -> dict[str, Tensor]:
        """Read a file of vidcore, of the official TensorFlow code or of the PyTorch port."""
        with naming(path):
            tensors = read_foreign(path, self.net, self.variant_name)
        return {f"net.{name}": value for name, value in tensors.items()}

    def load_weights(self, source: str | Path) -> list[str]:
        """Load weights with their activations; see ``vidcore.VideoModule.load_weights``."""
        published = self.published_weights().get(str(source))
        if published is not None:
            self.net.use_activations(**{**self._activations(), **published.options})
        untrained = super().load_weights(source)
        if self.net.stream:
            self.hparams.update(self._activations())
            rank_zero_info(f"activations: head {self.net.head}, gate_slope {self.net.gate_slope:.4g}")
            if published is None and is_tensorflow(source) and self.net.head != self.variant.stream_head:
                rank_zero_info(
                    f"a TensorFlow checkpoint does not contain its activations; the authors' configuration of "
                    f"{self.variant_name} uses {self.variant.stream_head} before the classifier: add "
                    f"--model.head {self.variant.stream_head} if the checkpoint was trained with it"
                )
        return untrained

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the activations of the checkpoint; early checkpoints do not contain them and have hard swish.

        Raises:
            UserError: The checkpoint is of a base network and this is a stream network, or vice versa.
        """
        super().on_load_checkpoint(checkpoint)
        tensors = checkpoint["state_dict"]
        check_own_kind(tensors, self.net.stream)
        if self.net.stream:
            if "head" not in checkpoint["hyper_parameters"]:
                tensors.setdefault("net._extra_state", EARLIER.clone())
            self.net.set_extra_state(tensors.get("net._extra_state", self.net.get_extra_state()))
            self.hparams.update(self._activations())

    def _activations(self) -> dict[str, Any]:
        return {"head": self.net.head, "gate_slope": self.net.gate_slope}

    def family(self) -> list[dict[str, Any]]:
        """Return figures of all variants for 600 classes; for stream networks also GMACs per frame and state size."""
        return [_figures(name, self.net.stream, self.reference_task.num_classes) for name in VARIANTS]


def _figures(name: str, stream: bool, classes: int) -> dict[str, Any]:
    variant = VARIANTS[name]
    size = (variant.size, variant.size)
    with torch.device("meta"), torch.no_grad():
        net = MoViNet(name, classes, stream).eval()
        figures = {
            "variant": name,
            "clip": f"{variant.frames}×{variant.size}²",
            "parameters": parameters(net),
            "gmacs": _macs(net, torch.empty(1, 3, variant.frames, *size)) / 1e9,
        }
        if stream:
            state = net.init_state(1, size)
            figures["gmacs_frame"] = _macs(net.folded(), torch.empty(1, 3, 1, *size)) / 1e9  # as it is served
            figures["state_bytes"] = sum(tensor.nbytes for tensor in state.values())
    return {**figures, "published_gmacs": variant.gflops, "top1": variant.stream_top1 if stream else variant.top1}


def _macs(net: MoViNet, clip: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        net(clip)
    return counter.get_total_flops() // 2
