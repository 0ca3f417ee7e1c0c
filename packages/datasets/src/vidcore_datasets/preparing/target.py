"""Output folder or URL: locking, and errors when writing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vidcore.errors import UserError
from vidcore.redaction import without_secrets_of
from vidcore.video.source import filesystem, is_url, joined, read_bytes
from vidcore.writing import PART, write_whole
from vidcore_datasets.preparing.jobs import Job, Settings

SETTINGS = "prepared.json"


class TargetError(UserError):
    """The target is not writable."""

    def __init__(self, target: str, error: OSError) -> None:
        reason = without_secrets_of(target, error.strerror or str(error))
        super().__init__(
            f"{target}: {reason}. What is done is kept: make it possible to write there, and the same command goes on"
        )


@contextmanager
def writing(target: str) -> Iterator[None]:
    """Convert system errors within the block to ``TargetError``."""
    try:
        yield
    except OSError as error:
        raise TargetError(target, error) from error


@contextmanager
def claimed(settings: Settings, jobs: Sequence[Job]) -> Iterator[None]:
    """Create the target folder and hold its lock; the system releases it when the process ends.

    At a URL, where locks are not available, concurrent runs write the same content, each file atomically.

    Raises:
        UserError: Another run holds the lock, or the target contains something else.
    """
    described = {key: value for key, value in asdict(settings).items() if key != "target"}
    if settings.form == "shards":
        sources = [(job.name, [dict(source.about) for source in job.sources]) for job in jobs]
        described["sources"] = hashlib.sha256(json.dumps(sources).encode()).hexdigest()
    if is_url(settings.target):
        _describe(settings.target, described)
        yield
        return
    from filelock import FileLock, Timeout

    target = Path(settings.target)
    target.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another vid data prepare is writing {target}") from None
    try:
        if not (target / SETTINGS).is_file() and any(file.name != ".lock" for file in target.iterdir()):
            raise UserError(f"{target} holds something else already; name a new folder")
        _describe(settings.target, described)
        for left in list(target.rglob(f".*{PART}")):
            remove(left)
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            Path(lock.lock_file).unlink()
        lock.release()


def _describe(target: str, described: Mapping[str, Any]) -> None:
    """Write the settings of the target, or check that they equal those of an earlier run."""
    try:
        known = json.loads(read_bytes(joined(target, SETTINGS)))
    except FileNotFoundError:
        write_file(target, SETTINGS, json.dumps(described).encode())
        return
    except ValueError:
        known = None
    different = [key for key in described if not isinstance(known, dict) or known.get(key) != described[key]]
    if different:
        what = "other videos" if different == ["sources"] else f"another {' and '.join(different)}"
        raise UserError(f"{target} was prepared with {what}; name a new folder, or remove it")


def place_in(target: str, name: str) -> Path:
    """Return the path of a name below a folder.

    Raises:
        TargetError: A link in the folder leads out of it.
    """
    place = Path(target, name)
    if Path(target).resolve() not in place.resolve().parents:
        raise TargetError(target, OSError(errno.ELOOP, f"{name} leads out of it through a link"))
    return place


def write_file(target: str, name: str, content: bytes) -> None:
    """Write a small file below the target atomically.

    Raises:
        UserError: It cannot be written.
    """
    with writing(target):
        if is_url(target):
            fs, place = filesystem(joined(target, name))
            fs.pipe_file(place, content)
        else:
            write_whole(Path(target, name), content)


def sync(path: Path) -> None:
    """Flush a file, or the files in a folder, to disk."""
    for file in path.iterdir() if path.is_dir() else [path]:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
