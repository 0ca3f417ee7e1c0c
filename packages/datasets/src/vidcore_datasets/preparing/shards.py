"""Shards in LitData's format that store unchanged encoded videos and nothing to unpickle.

An item has two leaves of bytes: metadata as JSON, and the video file. A shard starts with the number of items N
(uint32), N + 1 offsets (uint32) and the items; an item starts with the sizes (uint32) of its leaves. LitData can write
and read shards; [`vidcore.video.source`][] reads a single video of a shard with one request, locally or remotely, so
there is no cache to limit, and any process can read in any order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vidcore.errors import UserError

LARGEST = 2**32 - 2**24
"""Maximum size of a shard in bytes: offsets have 32 bits."""


@dataclass(frozen=True)
class Item:
    """A video in a shard: metadata, and byte range (``end`` exclusive)."""

    about: dict[str, Any]
    start: int
    end: int


def shard_name(number: int) -> str:
    """Return LitData's name of shard number ``number``."""
    return f"chunk-0-{number}.bin"


def shard_number(name: str) -> int:
    """Return the number in a shard's name."""
    return int(Path(name).stem.rpartition("-")[2])


def write_shard(folder: Path, name: str, items: Sequence[tuple[Mapping[str, Any], bytes]]) -> Path:
    """Write one shard to its own folder, and return its path.

    Raises:
        OSError: It cannot be written.
    """
    writer = _writer(folder, shard_number(name))
    for index, (about, video) in enumerate(items):
        writer.add_item(index, [json.dumps(dict(about)).encode(), video])
    writer.write_chunk(on_done=True)
    return folder / name


def index_of(shards: Sequence[tuple[str, int, int]]) -> bytes:
    """Return the content of LitData's ``index.json``.

    Args:
        shards: Name, size in bytes and number of items of each shard.
    """
    with TemporaryDirectory() as folder:
        writer = _writer(Path(folder), 0)
        writer.add_item(0, [b"{}", b""])
        config = writer.get_config()
    chunks = [{"filename": name, "chunk_bytes": size, "chunk_size": count, "dim": None} for name, size, count in shards]
    return json.dumps({"chunks": chunks, "config": config, "updated_at": "0"}, sort_keys=True).encode()


def items_of(shard: bytes | memoryview) -> Iterator[Item]:
    """Return the items of a shard.

    Raises:
        ValueError: It is not a shard, or truncated.
    """
    try:
        (count,) = struct.unpack_from("<I", shard, 0)
        offsets = struct.unpack_from(f"<{count + 1}I", shard, 4)
        if offsets[-1] != len(shard):
            raise ValueError(f"it has {len(shard)} bytes of {offsets[-1]}")
        for place, following in pairwise(offsets):
            about, video = struct.unpack_from("<2I", shard, place)
            start = place + struct.calcsize("<2I") + about
            if start + video != following:
                raise ValueError("its items are no videos")
            yield Item(json.loads(bytes(shard[start - about : start])), start, start + video)
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"it is no shard of videos ({error})") from error


def _writer(folder: Path, number: int) -> Any:
    try:
        from litdata.streaming.writer import BinaryWriter
    except ImportError as error:
        raise UserError(f'shards need litdata ({error}): pip install "vidcore-datasets[shards]"') from error
    return BinaryWriter(str(folder), chunk_bytes=LARGEST, chunk_index=number)
