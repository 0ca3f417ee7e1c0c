"""Temporal ensemble of two MoViNets at half the frame rate each (Kondratyuk et al., 2021, section 3.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vidcore.batch import Batch, Output
from vidcore.errors import UserError
from vidcore.module import VideoModule
from vidcore.task import Task
from vidcore.weights.checkpoint import naming
from vidcore_movinet.network import MoViNet
from vidcore_movinet.variants import NETWORK_RANGES, SLOPE, Head, MoViNetConfig, find_variant
from vidcore_movinet.weights import check_own_kind, kinetics600


class MoViNetEnsemble(VideoModule):
    """Temporal ensemble: two networks, each of which processes every other frame; their logits are averaged.

    The ensemble costs as many MACs as one network on all frames. Both networks are trained together, each on its own
    loss, as if they were trained separately.

    Args:
        task: Task of the data.
        variant: Variant of both networks: ``t0``, or ``a0`` to ``a5``.
        stream: Whether both are stream networks.
        dropout: See [`vidcore_movinet.MoViNetModule`][], as for all arguments below.
        stochastic_depth: See there.
        bn_momentum: See there.
        checkpointing: See there.
        head: See there.
        gate_slope: See there.
        **kwargs: See [`vidcore.VideoModule`][vidcore.module.VideoModule]. ``weights`` of a single network are loaded
            into both.

    Raises:
        OptionError: An option has an invalid value.
        UserError: The number of frames per clip is odd.
    """

    RANGES: ClassVar[dict[str, str]] = NETWORK_RANGES
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
        head: Head = "swish",
        gate_slope: float = SLOPE,
        **kwargs: Any,
    ) -> None:
        super().__init__(task, find_variant(variant).clip_spec, **kwargs)
        frames = self.clip_spec.num_frames
        if frames % 2:
            raise UserError(
                f"number of frames per clip must be even (each network processes every other frame), got {frames}"
            )
        config = MoViNetConfig(
            variant=variant, num_classes=self.task.num_classes, stream=stream, dropout=dropout,
            stochastic_depth=stochastic_depth, bn_momentum=bn_momentum, checkpointing=checkpointing,
            gate_slope=gate_slope, head=head,
        )  # fmt: skip
        self.nets = nn.ModuleList(MoViNet(config=config) for _ in range(2))
        self.stream = stream

    def forward(self, batch: Batch) -> Output:
        """Compute the mean of both networks' logits."""
        return Output(logits=torch.stack(self._logits(batch)).mean(0))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of both losses: the gradient of each network is that of its own loss. Log their mean."""
        losses = [self.loss(Output(logits=logits), batch) for logits in self._logits(batch)]
        self.log("train/loss", torch.stack(losses).mean(), prog_bar=True, batch_size=len(batch["ids"]))
        return torch.stack(losses).sum()

    def read_weights(self, path: str | Path) -> dict[str, Tensor]:
        """Read a file of vidcore; the weights of a single network are returned for both."""
        tensors = super().read_weights(path)
        with naming(path):
            check_own_kind(tensors, self.stream)
        if not any(name.startswith("net.") for name in tensors):
            return tensors
        single = {name.removeprefix("net."): value for name, value in tensors.items()}
        return {f"nets.{member}.{name}": value for member in range(2) for name, value in single.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See ``MoViNetModule.on_load_checkpoint``."""
        super().on_load_checkpoint(checkpoint)
        check_own_kind(checkpoint["state_dict"], self.stream)

    def _logits(self, batch: Batch) -> list[Tensor]:
        clip = batch["inputs"]["rgb"]  # (B, 3, T, H, W)
        return [net(clip[:, :, offset::2]) for offset, net in enumerate(self.nets)]
