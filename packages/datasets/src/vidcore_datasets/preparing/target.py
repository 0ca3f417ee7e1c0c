"""The folder or URL that is written to: whose it is, and what goes wrong there."""

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
    """The target cannot be written to."""

    def __init__(self, target: str, error: OSError) -> None:
        reason = without_secrets_of(target, error.strerror or str(error))
        super().__init__(
            f"{target}: {reason}. What is done is kept: make it possible to write there, and the same command goes on"
        )


@contextmanager
def writing(target: str) -> Iterator[None]:
    """Whatever the system refuses inside is the target's fault."""
    try:
        yield
    except OSError as error:
        raise TargetError(target, error) from error


@contextmanager
def claimed(settings: Settings, jobs: Sequence[Job]) -> Iterator[None]:
    """Makes the target, and keeps other runs off it; the system ends that with the process, however it ends.

    At a URL, where nothing can be locked, two runs write the same, each file at once.

    Raises:
        UserError: Another run is at it, or the target holds something else.
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
    """Notes what is written here, or checks that it is the same as before."""
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
    """The path of a name below a folder.

    Raises:
        TargetError: A link in the folder leads out of it.
    """
    place = Path(target, name)
    if Path(target).resolve() not in place.resolve().parents:
        raise TargetError(target, OSError(errno.ELOOP, f"{name} leads out of it through a link"))
    return place


def write_file(target: str, name: str, content: bytes) -> None:
    """Writes a small file below the target; it is there when it is complete.

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
    """What is written, a file or those in a folder, survives a power cut."""
    for file in path.iterdir() if path.is_dir() else [path]:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with what is in it; nothing may be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
