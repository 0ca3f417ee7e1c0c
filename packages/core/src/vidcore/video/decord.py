"""Frames through decord (the maintained fork decord2); an optional install."""

from __future__ import annotations

import os
from collections.abc import Sequence

import decord
import torch
from torch import Tensor

from vidcore.video.pyav import PyavDecoder, check_indices

decord.logging.set_level(decord.logging.QUIET)


class DecordDecoder(PyavDecoder):
    """Frames of a video file through decord. See :class:`~vidcore.video.decoder.Decoder`.

    The index is PyAV's. So are the frames, and :attr:`backend` is ``pyav``, where timestamps do not name frames
    (MPEG program streams, AVI with B-frames), where groups of pictures are open (decord counts wrong after a seek),
    where frames are turned or mirrored, where the stream is not the one that decord picks, in AVI with H.264 or HEVC,
    and where it counts other frames or fails.

    One kind of file is not exact and cannot be told from its packets: H.264 with periodic intra refresh, where key
    frames after the first are only points from which the picture recovers. Use ``pyav`` for such streams.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._reader: decord.VideoReader | None = None
        if self.seeks and self.is_default_stream and self.as_stored and not self.open_gops and not self.in_band:
            try:
                reader = decord.VideoReader(os.path.abspath(self.path), num_threads=1)  # noqa: PTH100 - not a URL
            except (decord.DECORDError, RuntimeError):
                return
            if len(reader) == self.num_frames:
                self._reader, self.backend = reader, "decord"

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Decode the frames at ``indices``: uint8 RGB (T, 3, H, W); see :meth:`Decoder.frames`."""
        wanted = check_indices(self.path, indices, self.num_frames)
        if self._reader is not None and wanted:
            try:
                return torch.from_numpy(self._reader.get_batch(wanted).asnumpy()).permute(0, 3, 1, 2)
            except (decord.DECORDError, RuntimeError):
                self._reader, self.backend = None, "pyav"
        return super().frames(wanted)

    def close(self) -> None:
        """Close the file."""
        self._reader = None
        super().close()
