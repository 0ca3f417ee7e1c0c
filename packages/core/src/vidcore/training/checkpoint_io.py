"""Checkpoints that are either complete or not there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from typing_extensions import override

from vidcore.writing import write_whole


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is complete.

    Lightning writes to the system's temporary folder first; where that is another disk, moving the file copies it over
    the one before, and a full disk or a killed process in that moment leaves neither.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """See Lightning. Remote paths (``s3://…``) are Lightning's.

        Raises:
            OSError: The system's own, with the checkpoint's name; what was at ``path`` is as it was.
        """
        if "://" in str(path):
            return super().save_checkpoint(checkpoint, path, storage_options)
        # Not straight into the file: torch turns what the system says of a full disk into words of its own.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_whole(Path(path), content.getbuffer())
