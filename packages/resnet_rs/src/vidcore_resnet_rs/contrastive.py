"""Contrastive video representation learning (CVRL): self-supervised pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidcore.batch import Batch, Output
from vidcore.distributed import gathered_rows
from vidcore.errors import UserError
from vidcore.flops import parameters
from vidcore.module import VideoModule
from vidcore.task import Task
from vidcore_resnet_rs.module import CLIP, check_frames
from vidcore_resnet_rs.network import ResNetRS3D
from vidcore_resnet_rs.variants import TEMPORAL_KERNELS, Gating, ResNetRSConfig, StemVersion

VIDEOS = Task("single_label", ("video",))
"""Placeholder task: contrastive pre-training uses no labels."""

NO_CLASSES = UserError(
    "resnet_rs_cvrl has no classifier, so it cannot be tested or used for prediction: train a classifier on its "
    "checkpoint with --model resnet_rs --model.weights CHECKPOINT"
)


class ContrastiveModule(VideoModule):
    """CVRL: clips of the same video are attracted in the embedding space, clips of other videos are repelled.

    Qian et al., "Spatiotemporal Contrastive Video Representation Learning", CVPR 2021 (arXiv:2008.03800). Labels are
    not used. To fine-tune the result, run ``--model resnet_rs --model.weights CHECKPOINT`` with the same network
    options.

    ``val/top1`` is the share of clips whose nearest neighbour in the batch is the other clip of the same video.

    Args:
        task: Task of the data; not used.
        depth: See [`ResNetRSConfig`][vidcore_resnet_rs.ResNetRSConfig], as for all arguments up to ``checkpointing``.
        stem: ``v1`` or ``v0``. The CVRL paper uses ``v0`` without squeeze-excitation and self-gating.
        se_ratio: Hidden channels of squeeze-excitation as a share of the output channels. 0: no squeeze-excitation.
        gating: ``last``, ``all`` or ``none``.
        temporal_kernels: Temporal kernel sizes of each stage.
        bn_momentum: Weight of the current batch in the running statistics of batch normalisation.
        checkpointing: Recompute activations in the backward pass, for less memory and more time.
        hidden: Width of the three hidden layers of the projection head.
        dimensions: D, dimension of the embeddings.
        temperature: Temperature by which cosine similarities are divided.
        **kwargs: See [`vidcore.VideoModule`][vidcore.module.VideoModule].

    Raises:
        OptionError: An option has an invalid value.
        UserError: The temporal strides do not divide the number of frames.
    """

    RANGES: ClassVar[dict[str, str]] = {
        "se_ratio": "[0, 1]",
        "bn_momentum": "(0, 1]",
        "hidden": "[1, inf)",
        "dimensions": "[1, inf)",
        "temperature": "(0, inf)",
    }

    def __init__(
        self,
        task: Task,
        depth: int = 50,
        stem: StemVersion = "v1",
        se_ratio: float = 0.25,
        gating: Gating = "last",
        temporal_kernels: Sequence[Sequence[int]] = TEMPORAL_KERNELS,
        bn_momentum: float = 0.1,
        checkpointing: bool = False,
        hidden: int = 2048,
        dimensions: int = 128,
        temperature: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(VIDEOS, replace(CLIP, frames=16, short_side=None, pairs=True), **kwargs)
        check_frames(self.clip_spec, 1)
        config = ResNetRSConfig(
            depth=depth, num_classes=0, stem=stem, se_ratio=se_ratio, gating=gating, temporal_kernels=temporal_kernels,
            stochastic_depth=0.0, bn_momentum=bn_momentum, checkpointing=checkpointing,
        )  # fmt: skip
        self.net = ResNetRS3D(config=config)
        self.projection = projection(self.net.num_features, hidden, dimensions)
        self.temperature = temperature

    def forward(self, batch: Batch) -> Output:
        """Compute the loss of clips (2B, 3, T, H, W); the two clips of a video are adjacent rows."""
        clips, ids = batch["inputs"]["rgb"], batch["ids"]
        if ids[::2] != ids[1::2]:
            raise UserError(
                "contrastive pre-training requires the two clips of each video in adjacent rows of the batch"
            )
        embeddings = self.embed(clips)
        with torch.autocast(embeddings.device.type, enabled=False):  # 16 bits are too coarse to rank near neighbours
            loss, top1 = info_nce(embeddings.float(), self.temperature, everywhere=self.training)
        return Output(losses={"infonce": loss}, trace={"top1": top1})

    def embed(self, clips: Tensor) -> Tensor:
        """Compute embeddings (N, D) of length 1 of clips (N, 3, T, H, W)."""
        return F.normalize(self.projection(self.net(clips)))

    def components(self) -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
        """Return the network alone: the projection head is discarded after pre-training."""
        return {"network": (self.net, (self.example_batch()["inputs"]["rgb"],))}

    def num_parameters(self) -> int:
        """Parameters of the network, without the projection."""
        return parameters(self.net)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss, and the share of clips whose nearest neighbour is the other clip of the same video."""
        if not batch["ids"]:
            return
        output = self(batch)
        for name, value in (("loss", output.losses["infonce"]), ("top1", output.trace["top1"])):
            self.log(f"val/{name}", value, batch_size=len(batch["ids"]), prog_bar=True, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Do nothing: ``validation_step`` logs the metrics."""

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Not supported.

        Raises:
            UserError: Always.
        """
        raise NO_CLASSES

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Any]]:
        """Not supported; see [`test_step`][vidcore_resnet_rs.contrastive.ContrastiveModule.test_step]."""
        raise NO_CLASSES


def projection(features: int, hidden: int, dimensions: int) -> nn.Sequential:
    """Build the projection head: three hidden layers with batch normalisation, then a linear layer."""
    layers: list[nn.Module] = []
    for width in (features, hidden, hidden):
        layers += [nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(hidden, dimensions))


def info_nce(embeddings: Tensor, temperature: float, everywhere: bool = True) -> tuple[Tensor, Tensor]:
    """Compute the InfoNCE loss, summed over both directions, and the top-1 retrieval accuracy.

    Args:
        embeddings: (2B, D), rows of length 1; the two rows of a pair are adjacent. B must be equal in all processes.
        temperature: Temperature by which cosine similarities are divided.
        everywhere: Whether rows are compared with those of all processes, or with this process's rows only.

    Returns:
        Two scalars: the loss, and the share of rows whose most similar row is their partner.
    """
    others, first = gathered_rows(embeddings) if everywhere else (embeddings, 0)
    rows = torch.arange(len(embeddings), device=embeddings.device)
    itself = F.one_hot(first + rows, len(others)).bool()
    similarity = (embeddings @ others.T).masked_fill(itself, -torch.inf) / temperature
    partner = first + (rows ^ 1)
    # The mean over all rows is half of the sum of both directions.
    return 2 * F.cross_entropy(similarity, partner), (similarity.argmax(1) == partner).float().mean()
