"""Check whether the elements of a container fit together; FFmpeg silently skips those that do not.

Matroska and WebM: RFC 9559 and RFC 8794. AVI: Microsoft's AVI RIFF File Reference.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Mapping

_SEGMENT, _CLUSTER, _BLOCK_GROUP = 0x18538067, 0x1F43B675, 0xA0
_ANYWHERE = {0xEC, 0xBF}  # Void, CRC-32
_CHILDREN: Mapping[int, set[int]] = {
    # SeekHead, Info, Tracks, Cluster, Cues, Attachments, Chapters, Tags
    _SEGMENT: {0x114D9B74, 0x1549A966, 0x1654AE6B, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367},
    # Timestamp, SilentTracks, Position, PrevSize, SimpleBlock, BlockGroup, EncryptedBlock
    _CLUSTER: {0xE7, 0x5854, 0xA7, 0xAB, 0xA3, _BLOCK_GROUP, 0xAF},
    # Block, BlockVirtual, BlockAdditions, BlockDuration, ReferencePriority, ReferenceBlock, ReferenceVirtual,
    # CodecState, DiscardPadding, Slices, ReferenceFrame
    _BLOCK_GROUP: {0xA1, 0xA2, 0x75A1, 0x9B, 0xFA, 0xFB, 0xFD, 0xA4, 0x75A2, 0x8E, 0xC8},
}
_CHUNK = re.compile(rb"\d\d[A-Za-z]{2}|ix\d\d|JUNK|LIST|rec |idx1")  # of what an AVI's list "movi" holds


def broken_structure(path: str, format_name: str) -> str:
    """Describe the structural error of a Matroska, WebM or AVI file; empty if there is none, and for other formats.

    Args:
        path: File to check.
        format_name: FFmpeg's name of its format.
    """
    check = {"matroska": _matroska, "avi": _avi}.get(format_name.split(",")[0])
    if check is None:
        return ""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:  # noqa: PTH123
        size = len(data)
        try:
            place = check(data)
        except (IndexError, struct.error):  # an element begins where the file ends
            place = size
    return "" if place is None else f"its elements do not fit together from byte {place} of {size} on"


def _matroska(data: mmap.mmap) -> int | None:
    """Return the position of the first invalid element; None if all are valid."""
    begin = 0
    while begin < len(data):
        identity, size, content = _element(data, begin)
        if identity == _SEGMENT:
            return _children(data, identity, content, len(data) if size is None else content + size)[1]
        begin = content + (size or 0)
    return begin


def _children(data: mmap.mmap, parent: int, begin: int, end: int) -> tuple[int, int | None]:
    """Return the end of the children, and the position of the first invalid one."""
    if end > len(data):
        return end, len(data)
    while begin < end:
        identity, size, content = _element(data, begin)
        if parent == _CLUSTER and identity in _CHILDREN[_SEGMENT]:  # one of unknown length ends here
            break
        if identity not in _CHILDREN[parent] | _ANYWHERE or (size is not None and content + size > end):
            return begin, begin
        if identity in _CHILDREN:
            following, wrong = _children(data, identity, content, end if size is None else content + size)
            if wrong is not None or (size is not None and following != content + size):
                return following, following if wrong is None else wrong
            begin = following
        elif size is None:
            return begin, begin
        else:
            begin = content + size
    return begin, None


def _element(data: mmap.mmap, begin: int) -> tuple[int, int | None, int]:
    """Return id, size (None: unknown) and content position of an element."""
    width = 9 - data[begin].bit_length()
    identity = int.from_bytes(data[begin : begin + width], "big")
    begin += width
    width = 9 - data[begin].bit_length()
    size = int.from_bytes(data[begin : begin + width], "big") & ((1 << 7 * width) - 1)
    return identity, None if size == (1 << 7 * width) - 1 else size, begin + width


def _avi(data: mmap.mmap) -> int | None:
    begin = 0
    while begin + 12 <= len(data) and data[begin : begin + 4] == b"RIFF":  # long ones have several
        end = min(len(data), begin + 8 + struct.unpack_from("<I", data, begin + 4)[0])
        begin += 12
        while begin + 8 <= end:
            name, size = struct.unpack_from("<4sI", data, begin)
            content = begin + 8
            if content + size > len(data) or not name.isascii():
                return begin
            if name == b"LIST" and data[content : content + 4] == b"movi":
                wrong = _chunks(data, content + 4, content + size)
            elif name == b"idx1":
                entries = struct.iter_unpack("<4sIII", data[content : content + size - size % 16])
                wrong = next((content for entry, *_ in entries if not _CHUNK.match(entry)), None)
            else:
                wrong = None
            if wrong is not None:
                return wrong
            begin = content + size + size % 2
        begin = end + end % 2
    return None


def _chunks(data: mmap.mmap, begin: int, end: int) -> int | None:
    while begin + 8 <= end:
        name, size = struct.unpack_from("<4sI", data, begin)
        if not _CHUNK.match(name):
            return begin
        if name == b"LIST":
            begin += 12
            continue
        begin += 8 + size
        if size % 2 and not _CHUNK.match(data[begin : begin + 4]):  # some writers do not fill up to even lengths
            begin += 1
    return begin if begin > end + 1 else None
