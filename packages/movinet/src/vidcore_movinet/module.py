"""MoViNet as a plugin of vidcore."""

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
from vidcore_movinet.network import SLOPE, MoViNet
from vidcore_movinet.variants import NETWORK_RANGES, VARIANTS, Head, find_variant
from vidcore_movinet.weights import EARLIER, check_own_kind, kinetics600, published_weights, read_foreign

# From the last to the first: name, and patterns of parameters.
_GROUPS = {
    "head": ("net.dense.*", "net.classifier.*"),
    "and b4": ("net.project.*", "net.layers.b4_*"),
    "and b3": ("net.layers.b3_*",),
    "and b2": ("net.layers.b2_*",),
    "and b1": ("net.layers.b1_*",),
    "all": ("net.layers.b0_*", "net.stem.*"),
}


class MoViNetModule(VideoModule):
    """MoViNet for whole clips or for streams, trained from scratch or from ``weights``.

    Args:
        task: What is predicted.
        variant: ``a0`` to ``a5``, or ``t0``.
        stream: Whether the model streams (:class:`vidcore.streaming.Streaming`): it sees the past only, and a video
            frame by frame as well as a clip.
        dropout: Probability before the classifier; by default the variant's own.
        stochastic_depth: Probability with which training leaves out the last layer; falls linearly to the first.
        bn_momentum: Weight of the newest batch in the running statistics of batch normalisation. The official 0.01
            suits hundreds of thousands of steps; trainings of a few hundred need about 0.1.
        checkpointing: Less memory in training, more time; for A3 to A5.
        linear_probe: Only the last linear layer trains.
        head: Activation before a stream network's classifier: ``swish``, the official default, or ``hard_swish``.
            Weights that say theirs set it and ``gate_slope``: published ones, the PyTorch port's, and files of ours.
        gate_slope: Slope of a stream network's gates ``clip(slope · x + 0.5, 0, 1)``: 1/6 in the official code, 0.2 in
            the released weights.
        unfreeze: Epochs after which one more group of layers trains, from the last to the first, the head alone in the
            beginning; 0: all train from the beginning.
        **kwargs: See :class:`vidcore.VideoModule`.
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
        self.net = MoViNet(
            variant,
            self.task.num_classes,
            stream,
            dropout,
            stochastic_depth,
            bn_momentum,
            checkpointing,
            gate_slope=gate_slope,
            head=head,
        )
        self.linear_probe, self._unfreeze = linear_probe, unfreeze
        if stream:  # here, not as methods: a base network must not look as if it streamed
            self.init_state, self.step = self.net.init_state, self._step

    def forward(self, batch: Batch) -> Output:
        """Logits of whole clips."""
        return Output(logits=self.net(batch["inputs"]["rgb"]))

    def _step(self, frames: Tensor, state: State) -> tuple[Output, State]:
        """See :meth:`vidcore.streaming.Streaming.step`; components are per clip, so there is no ``usage``."""
        logits, state = self.net.step(frames, state)
        return Output(logits=logits), state

    def stages(self) -> Sequence[Stage]:
        """One in which the last layer trains; or one for each group of layers that is unfrozen; or none."""
        if self.linear_probe:
            return (Stage("linear probe", 1, self.optim, ("net.classifier.*",)),)
        groups = _GROUPS if self._unfreeze else {}
        trained = itertools.accumulate(groups.values())
        return [Stage(name, self._unfreeze, self.optim, trains) for name, trains in zip(groups, trained, strict=True)]

    def published(self) -> dict[str, float]:
        """The released network's figures on Kinetics-600; of a stream network also with its weights' activations."""
        variant = self.variant
        if not self.is_reference() or (self.net.stream and not self._has_released_activations()):
            return {}
        params, top1 = (variant.params, variant.top1)
        if self.net.stream:
            params, top1 = variant.stream_params, variant.stream_top1
        figures = {"parameters": params, "gmacs": variant.gflops, "top1": top1}
        return {name: value for name, value in figures.items() if value is not None}

    def _has_released_activations(self) -> bool:
        """Whether the activations are the official code's, the authors' configuration's, or the released weights'."""
        known = [{}, {"head": self.variant.stream_head}, *(each.options for each in self.published_weights().values())]
        heads = [(each.get("head", "swish"), each.get("gate_slope", SLOPE)) for each in known]
        return any(
            self.net.head == head and math.isclose(self.net.gate_slope, slope, rel_tol=1e-6) for head, slope in heads
        )

    def for_inference(self) -> Self:
        """A copy whose network is :meth:`~vidcore_movinet.MoViNet.folded`."""
        return self.with_net(self.net.folded())

    def published_weights(self) -> dict[str, Weights]:
        """The weights released for this variant, trained on Kinetics-600."""
        return published_weights(self.variant_name, self.net.stream)

    def read_weights(self, path: str | Path) -> dict[str, Tensor]:
        """A file of ours, or weights that the official TensorFlow code or the PyTorch port saved."""
        with naming(path):
            tensors = read_foreign(path, self.net, self.variant_name)
        return {f"net.{name}": value for name, value in tensors.items()}

    def load_weights(self, source: str | Path) -> list[str]:
        """See :meth:`vidcore.VideoModule.load_weights`; a stream network gets the activations of the weights."""
        published = self.published_weights().get(str(source))
        if published is not None:
            self.net.use_activations(**{**self._activations(), **published.options})
        untrained = super().load_weights(source)
        if self.net.stream:
            self.hparams.update(self._activations())
            rank_zero_info(f"activations: head {self.net.head}, gate_slope {self.net.gate_slope:.4g}")
            if published is None and is_tensorflow(source) and self.net.head != self.variant.stream_head:
                rank_zero_info(
                    f"a TensorFlow checkpoint does not say its activations; the authors' configuration of "
                    f"{self.variant_name} has {self.variant.stream_head} in the head: "
                    f"--model.head {self.variant.stream_head} if it was trained with that"
                )
        return untrained

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the activations that the checkpoint was trained with, which early checkpoints do not say.

        Raises:
            UserError: The checkpoint is of a base network and this one streams, or the other way round.
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
        """All variants with 600 classes at their own clips; of stream networks also frame cost and state size."""
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
            figures["gmacs_frame"] = _macs(net, torch.empty(1, 3, 1, *size)) / 1e9
            figures["state_bytes"] = sum(tensor.nbytes for tensor in state.values())
    return {**figures, "published_gmacs": variant.gflops, "top1": variant.stream_top1 if stream else variant.top1}


def _macs(net: MoViNet, clip: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        net(clip)
    return counter.get_total_flops() // 2
