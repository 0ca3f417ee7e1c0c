"""Media files opened by FFmpeg: within ``vidcore.video.limits``, and nothing else than the file that is named."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any, BinaryIO

import av
from av.container import InputContainer

from vidcore.video.limits import FRAMES, PIXELS, LimitError

FORMATS = (
    *("3gp", "apng", "asf", "av1", "avi", "avs", "avs2", "avs3", "bink", "cavsvideo", "cine", "dirac", "dnxhd", "dv"),
    *("flic", "flv", "gif", "gxf", "h261", "h263", "h264", "hevc", "ivf", "lxf", "m4v", "matroska", "mjpeg"),
    *("mjpeg_2000", "mov", "mpeg", "mpegts", "mpegvideo", "mpjpeg", "mxf", "nsv", "nut", "nuv", "obu", "ogg", "pva"),
    *("rm", "roq", "smk", "swf", "ty", "vc1", "vc1test", "vvc", "wtv", "yuv4mpegpipe"),
    *("image2", "bmp_pipe", "gif_pipe", "j2k_pipe", "jpeg_pipe", "jpegxl_pipe", "pgm_pipe", "png_pipe", "ppm_pipe"),
    *("tiff_pipe", "webp_pipe"),
    *("aac", "ac3", "aiff", "amr", "ape", "au", "caf", "dts", "dtshd", "eac3", "flac", "loas", "mp3", "mpc", "mpc8"),
    *("tak", "truehd", "tta", "voc", "w64", "wav", "wv"),
)
"""Containers that hold their content themselves, by FFmpeg's names. HLS, DASH, concat, SDP and the like are not among
them: those name other files, which FFmpeg would read."""

_NETWORK = (
    *("crypto", "data", "ftp", "http", "httpproxy", "https", "mmsh", "mmst", "rist", "rtmp", "rtmpe", "rtmps", "rtmpt"),
    *("rtmpte", "rtmpts", "rtp", "sftp", "srt", "srtp", "tcp", "tls", "udp", "udplite"),
)
_FIRST_BOXES = (b"ftyp", b"moov", b"free", b"skip", b"wide", b"mdat", b"pnot", b"styp", b"moof")
_DEEPEST = 10
_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"}


def open_container(file: Any, timeout: float | None = None) -> InputContainer:
    """Open a local file, or what a file object reads.

    Args:
        file: A path, or an object with ``read``, ``seek`` and ``tell``.
        timeout: Seconds after which opening it or one read from it is interrupted.

    Raises:
        av.FFmpegError: FFmpeg cannot open it, or it is of none of ``FORMATS``.
        OSError: It is missing, or neither a file nor an object.
        LimitError: It declares too much, see ``vidcore.video.limits``.
    """
    if isinstance(file, str):
        require_file(file)
        with open(file, "rb") as opened:  # noqa: PTH123 - as all paths here, a text
            _check_mp4(opened)
        file, protocol = f"file:{file}", "file"  # a name such as "concat:a|b" is a name
    else:
        if isinstance(file, BytesIO):
            _check_mp4(file)
        protocol = "none"
    only = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": protocol, "pattern_type": "none"}
    try:
        return _opened(file, timeout, only)
    except av.ArgumentError as error:
        reason = "is damaged, or in a container that is not read, such as a playlist that names other files"
        raise av.ArgumentError(error.errno or 0, reason, error.filename) from error


def open_url(url: str, timeout: float, options: Mapping[str, str]) -> InputContainer:
    """Open a URL with FFmpeg. A playlist there may name other URLs, but no local file.

    Raises:
        av.FFmpegError: FFmpeg cannot open it.
        LimitError: It declares too much, see ``vidcore.video.limits``.
    """
    return _opened(url, timeout, {**options, "protocol_whitelist": ",".join(_NETWORK)})


def _opened(file: Any, timeout: float | None, container_options: Mapping[str, str]) -> InputContainer:
    # For frames that are larger than the header says. Twice: decoders count the padding of each row, too.
    decoder = {"max_pixels": str(2 * PIXELS.value)}
    container = av.open(file, options=decoder, container_options=dict(container_options), timeout=timeout)
    for stream in container.streams.video:
        context = stream.codec_context
        if context is None:
            continue
        context.options = decoder
        try:
            PIXELS.check(context.width * context.height)
            FRAMES.check(stream.frames)
        except LimitError:
            container.close()
            raise
    return container


def require_file(path: str | os.PathLike[str]) -> None:
    """Check that a path is a file: opening a pipe waits for a writer, perhaps for ever.

    Raises:
        OSError: It is missing, or it is something else.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 - as all paths here, a text
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("is a folder")
    if not stat.S_ISREG(mode):
        raise OSError("is not a file, but a pipe or a device")


def _check_mp4(file: BinaryIO) -> None:
    """Check how many frames an MP4 or MOV file declares: FFmpeg allocates an index of them when it opens the file.

    Raises:
        LimitError: There are too many.
    """
    start = file.tell()
    if file.read(8)[4:] in _FIRST_BOXES:
        with suppress(struct.error):  # it ends within a box
            FRAMES.check(_declared(file, start, file.seek(0, os.SEEK_END)))
    file.seek(start)


def _declared(file: BinaryIO, begin: int, end: int, depth: int = 0, sound: bool = False) -> int:
    """Number of samples of all tracks in the boxes between two offsets, as their headers say."""
    count = 0
    while begin + 8 <= end:
        file.seek(begin)
        size, name = struct.unpack(">I4s", file.read(8))
        content = begin + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            content += 8
        following = begin + size if size >= 8 else end
        if name in _BOXES and depth < _DEEPEST:
            count += _declared(file, content, min(following, end), depth + 1, sound)
        elif name == b"hdlr" and (kind := file.read(12)[8:]) in (b"soun", b"vide"):
            sound = kind == b"soun"
        elif name == b"stts" and sound and struct.unpack(">4xI4xI", file.read(16)) == (1, 1):
            return 0  # FFmpeg indexes PCM by chunks, not by samples
        elif name in (b"stsz", b"stz2"):
            count += struct.unpack(">8xI", file.read(12))[0]
        elif name == b"trun":
            count += struct.unpack(">4xI", file.read(8))[0]
        begin = following
    return count
