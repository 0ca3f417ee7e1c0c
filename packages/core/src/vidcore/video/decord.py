"""Decode frames with decord (the maintained fork decord2); an optional install."""

from __future__ import annotations

import os
from collections.abc import Sequence

import decord
import torch
from torch import Tensor

from vidcore.video.pyav import PyavDecoder, check_indices

decord.logging.set_level(decord.logging.QUIET)


class DecordDecoder(PyavDecoder):
    """Decoder that uses decord. Implements [`Decoder`][vidcore.video.decoder.Decoder].

    The index is PyAV's. Frames are decoded by PyAV too, and ``backend`` is ``pyav``, if decord is not exact: if
    timestamps do not identify frames (MPEG program streams, AVI with B-frames), GOPs are open (decord miscounts after a
    seek), frames are rotated or mirrored, decord would select another stream, the file is AVI with H.264 or HEVC, or
    decord finds another number of frames or fails.

    One case cannot be detected from the packets and is not exact: H.264 with periodic intra refresh, where key frames
    after the first are only recovery points. Use ``pyav`` for such streams.
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
        """Decode the frames at ``indices``: uint8 RGB (T, 3, H, W); see ``Decoder.frames``."""
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
