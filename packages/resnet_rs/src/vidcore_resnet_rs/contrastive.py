"""Contrastive video representation learning: pre-training without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

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
from vidcore_resnet_rs.variants import TEMPORAL_KERNELS

VIDEOS = Task("single_label", ("video",))
"""What the module is told to predict: nothing but that it is a video."""


NO_CLASSES = UserError("what contrast trained has no classes: train it on with --model resnet_rs --model.weights")


class ContrastiveModule(VideoModule):
    """CVRL: the two clips of a video shall be nearer to each other than to all other clips of the batch.

    Qian et al., "Spatiotemporal Contrastive Video Representation Learning", CVPR 2021 (arXiv:2008.03800). Labels are
    not looked at. The result trains on with ``--model resnet_rs --model.weights CHECKPOINT``, with the same options of
    the network.

    ``val/top1`` is the share of clips whose nearest neighbour in the batch is the other clip of their video.

    Args:
        task: The data's; unused.
        depth: Of the network, see :class:`~vidcore_resnet_rs.network.ResNetRS3D`.
        stem: ``v0`` is what the CVRL paper pre-trains, without squeeze-excitation and gating.
        se_ratio: 0: no squeeze-excitation.
        gating: ``last``, ``all`` or ``none``.
        temporal_kernels: Of each stage.
        bn_momentum: Weight of the newest batch in the running statistics of batch normalisation.
        checkpointing: Less memory, more time.
        hidden: Width of the three hidden layers of the projection.
        dimensions: Of what is compared.
        temperature: By which cosine similarities are divided.
        **kwargs: See :class:`vidcore.VideoModule`.

    Raises:
        OptionError: A value outside its range or its choices.
        UserError: A clip whose frames the temporal strides do not divide.
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
        stem: Literal["v0", "v1"] = "v1",
        se_ratio: float = 0.25,
        gating: Literal["last", "all", "none"] = "last",
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
        self.net = ResNetRS3D(
            depth,
            num_classes=0,
            stem=stem,
            se_ratio=se_ratio,
            gating=gating,
            temporal_kernels=temporal_kernels,
            stochastic_depth=0.0,
            bn_momentum=bn_momentum,
            checkpointing=checkpointing,
        )
        self.projection = projection(self.net.num_features, hidden, dimensions)
        self.temperature = temperature

    def forward(self, batch: Batch) -> Output:
        """The loss of clips (2B, 3, T, H, W), the two of a video one after the other."""
        clips, ids = batch["inputs"]["rgb"], batch["ids"]
        if ids[::2] != ids[1::2]:
            raise UserError("contrastive pre-training takes the two clips of each video one after the other")
        embeddings = self.embed(clips)
        with torch.autocast(embeddings.device.type, enabled=False):  # 16 bits cannot tell near neighbours apart
            loss, top1 = info_nce(embeddings.float(), self.temperature, everywhere=self.training)
        return Output(losses={"infonce": loss}, trace={"top1": top1})

    def embed(self, clips: Tensor) -> Tensor:
        """From clips (N, 3, T, H, W) to embeddings (N, D) of length 1."""
        return F.normalize(self.projection(self.net(clips)))

    def components(self) -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
        """The network alone: the projection is thrown away."""
        return {"network": (self.net, (self.example_batch()["inputs"]["rgb"],))}

    def num_parameters(self) -> int:
        """Parameters of the network, without the projection."""
        return parameters(self.net)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs the loss and how many clips find the other one of their video."""
        if not batch["ids"]:
            return
        output = self(batch)
        for name, value in (("loss", output.losses["infonce"]), ("top1", output.trace["top1"])):
            self.log(f"val/{name}", value, batch_size=len(batch["ids"]), prog_bar=True, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Nothing: the step has logged all."""

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Refuses.

        Raises:
            UserError: Always.
        """
        raise NO_CLASSES

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Any]]:
        """Refuses, as :meth:`test_step`."""
        raise NO_CLASSES


def projection(features: int, hidden: int, dimensions: int) -> nn.Sequential:
    """Three hidden layers with batch normalisation, then ``dimensions`` numbers."""
    layers: list[nn.Module] = []
    for width in (features, hidden, hidden):
        layers += [nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(hidden, dimensions))


def info_nce(embeddings: Tensor, temperature: float, everywhere: bool = True) -> tuple[Tensor, Tensor]:
    """The sum of both directions of InfoNCE, and the share of rows whose most similar row is their other one.

    Args:
        embeddings: (2B, D), of length 1, pairs one after the other; in each process equally many.
        temperature: By which cosine similarities are divided.
        everywhere: Compare with the rows of all processes, not with this one's alone.

    Returns:
        Two scalars.
    """
    others, first = gathered_rows(embeddings) if everywhere else (embeddings, 0)
    rows = torch.arange(len(embeddings), device=embeddings.device)
    itself = F.one_hot(first + rows, len(others)).bool()
    similarity = (embeddings @ others.T).masked_fill(itself, -torch.inf) / temperature
    partner = first + (rows ^ 1)
    # The mean over all rows is half of the first clips' mean plus half of the second clips'.
    return 2 * F.cross_entropy(similarity, partner), (similarity.argmax(1) == partner).float().mean()
