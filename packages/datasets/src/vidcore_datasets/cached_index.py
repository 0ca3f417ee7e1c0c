"""Cache of annotations: annotation files that have not changed are not read again.

The cache depends on the annotation files only. Whether the videos exist is checked at every start.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vidcore.files import cache_folder
from vidcore.reading.index import SampleIndex, load_index, save_index
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.inputs import inputs_recorded, state_of

logger = logging.getLogger(__name__)


def cached_annotations(read: Callable[[], Annotations], name: str, options: Mapping[str, Any]) -> Annotations:
    """Return the result of ``read``, from the cache if none of its inputs has changed.

    Warnings that ``read`` logged are logged again when the cache is used. The cache is a memory-mapped file. A damaged
    file is replaced; without a writable cache the annotations are read at every start.

    Args:
        read: Reads the annotations and reports its inputs to [`depends_on`][vidcore_datasets.inputs.depends_on]. If it
            reports none, the result is not cached.
        name: Name of the data set.
        options: Everything else that the result depends on; JSON values.
    """
    key = json.dumps(
        [1, version("vidcore"), version("vidcore-datasets"), name, options, str(Path.cwd())], sort_keys=True
    )
    try:
        folder = cache_folder() / "index"
    except OSError as error:
        _warn_once(f"no cache ({error}): annotations are read at every start")
        annotations = read()
        return replace(annotations, samples={key: SampleIndex.of(part) for key, part in annotations.samples.items()})
    file = folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    kept = _load(file)
    if kept is not None:
        return kept
    with inputs_recorded() as before, _warnings() as said:
        annotations = read()
    samples = {split: SampleIndex.of(part) for split, part in annotations.samples.items()}
    annotations = replace(annotations, samples=samples)
    after = {path: state_of(path) for path in before}
    # Files that did not exist before were written by `read` itself. If a file changed meanwhile, do not cache.
    if not before or any(state is not None and state != after[path] for path, state in before.items()):
        return annotations
    about = {"task": annotations.task.as_dict(), "inputs": after, "said": said}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_index(file, samples, {what: json.dumps(value) for what, value in about.items()})
    except OSError as error:
        _warn_once(f"no cache in {file.parent} ({error.strerror or error}): annotations are read at every start")
        return annotations
    return replace(annotations, samples=load_index(file)[0])  # memory-mapped, so that processes share it


def _load(file: Path) -> Annotations | None:
    try:
        samples, about = load_index(file)
    except OSError:
        return None
    except ValueError as error:
        logger.warning("a damaged index is replaced: %s", error)
        return None
    if any(state_of(path) != state for path, state in json.loads(about["inputs"]).items()):
        return None
    for source, text in json.loads(about["said"]):
        logging.getLogger(source).warning("%s", text)
    return Annotations(Task.of(json.loads(about["task"])), samples)


@contextmanager
def _warnings() -> Iterator[list[tuple[str, str]]]:
    """Collect the warnings that this package logs as pairs of logger name and text."""
    said: list[tuple[str, str]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append((record.name, record.getMessage()))

    handler, source = Handler(logging.WARNING), logging.getLogger(__package__)
    source.addHandler(handler)
    try:
        yield said
    finally:
        source.removeHandler(handler)


@functools.cache
def _warn_once(text: str) -> None:
    logger.warning("%s", text)
