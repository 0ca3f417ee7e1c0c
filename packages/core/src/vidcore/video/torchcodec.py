"""Frames through torchcodec, PyTorch's own decoder; an optional install that needs FFmpeg's libraries."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from torch import Tensor
from torchcodec.decoders import VideoDecoder

from vidcore.video.pyav import PyavDecoder, check_indices


class TorchcodecDecoder(PyavDecoder):
    """Frames of a video file through torchcodec. See :class:`~vidcore.video.decoder.Decoder`.

    The index is PyAV's. So are the frames, and :attr:`backend` is ``pyav``, where timestamps do not name frames
    (MPEG program streams, AVI with B-frames), since torchcodec finds frames by them, where frames are turned or
    mirrored, where the size changes within the stream, in AVI with H.264 or HEVC, and where it counts other frames or
    fails.

    One kind of file is not exact and cannot be told from its packets: H.264 with periodic intra refresh, where key
    frames after the first are only points from which the picture recovers. Use ``pyav`` for such streams.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._reader: VideoDecoder | None = None
        if self.seeks and self.as_stored and not self.in_band:
            try:
                reader = VideoDecoder(
                    os.path.abspath(self.path),  # noqa: PTH100 - a name such as "concat:a" is a name
                    stream_index=self.stream_index,
                    seek_mode="exact",
                    num_ffmpeg_threads=1,
                )
            except (RuntimeError, ValueError):
                return
            if len(reader) == self.num_frames:
                self._reader, self.backend = reader, "torchcodec"

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Decode the frames at ``indices``: uint8 RGB (T, 3, H, W); see :meth:`Decoder.frames`."""
        wanted = check_indices(self.path, indices, self.num_frames)
        if self._reader is not None and wanted:
            with contextlib.suppress(RuntimeError):
                frames = self._reader.get_frames_at(wanted).data
                if frames.shape[2:] == self.size:  # not where the size changes within the stream
                    return frames
            self._reader, self.backend = None, "pyav"
        return super().frames(wanted)

    def close(self) -> None:
        """Close the file."""
        self._reader = None
        super().close()
