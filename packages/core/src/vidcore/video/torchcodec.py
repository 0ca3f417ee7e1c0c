"""Decode frames with torchcodec, PyTorch's decoder; an optional install that needs FFmpeg's libraries."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from torch import Tensor
from torchcodec.decoders import VideoDecoder

from vidcore.video.pyav import PyavDecoder, check_indices


class TorchcodecDecoder(PyavDecoder):
    """Decoder that uses torchcodec. Implements [`Decoder`][vidcore.video.decoder.Decoder].

    The index is PyAV's. Frames are decoded by PyAV too, and ``backend`` is ``pyav``, if torchcodec is not exact: if
    timestamps do not identify frames (MPEG program streams, AVI with B-frames), frames are rotated or mirrored, the
    size changes within the stream, the file is AVI with H.264 or HEVC, or torchcodec finds another number of frames or
    fails.

    One case cannot be detected from the packets and is not exact: H.264 with periodic intra refresh, where key frames
    after the first are only recovery points. Use ``pyav`` for such streams.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._reader: VideoDecoder | None = None
        if self.seeks and self.as_stored and not self.in_band:
            try:
                reader = VideoDecoder(
                    os.path.abspath(self.path),  # noqa: PTH100 - "concat:a" must be read as a file name
                    stream_index=self.stream_index,
                    seek_mode="exact",
                    num_ffmpeg_threads=1,
                )
            except (RuntimeError, ValueError):
                return
            if len(reader) == self.num_frames:
                self._reader, self.backend = reader, "torchcodec"

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Decode the frames at ``indices``: uint8 RGB (T, 3, H, W); see ``Decoder.frames``."""
        wanted = check_indices(self.path, indices, self.num_frames)
        if self._reader is not None and wanted:
            with contextlib.suppress(RuntimeError):
                frames = self._reader.get_frames_at(wanted).data
                if frames.shape[2:] == self.size:  # False if the size changes within the stream
                    return frames
            self._reader, self.backend = None, "pyav"
        return super().frames(wanted)

    def close(self) -> None:
        """Close the file."""
        self._reader = None
        super().close()
