"""Annotations in the user's cache: files that have not changed since are not read again.

What is kept follows from the annotation files alone. Which videos are there is asked at every start, so that none that
came or went is hidden.
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
from vidcore.index import SampleIndex, load_index, save_index
from vidcore.task import Task
from vidcore_datasets.annotations import Annotations
from vidcore_datasets.inputs import inputs_recorded, state_of

logger = logging.getLogger(__name__)


def cached_annotations(read: Callable[[], Annotations], name: str, options: Mapping[str, Any]) -> Annotations:
    """What ``read`` gives, from the cache if what it depends on is as it was; its warnings are said either way.

    It is kept in a file that processes map into their memory. A damaged one is replaced; where the cache cannot be
    written to, the annotations are read at every start.

    Args:
        read: Reads annotations and says what they depend on (:func:`~vidcore_datasets.inputs.depends_on`); if it says
            nothing, what it gives is not kept.
        name: Of the data set.
        options: What else the result depends on; plain values.
    """
    key = json.dumps(
        [1, version("vidcore"), version("vidcore-datasets"), name, options, str(Path.cwd())], sort_keys=True
    )
    try:
        folder = cache_folder() / "index"
    except OSError as error:
        _say_once(f"no cache ({error}): annotations are read at every start")
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
    # What was not there before has been written by `read` itself; what changed meanwhile is read again next time.
    if not before or any(state is not None and state != after[path] for path, state in before.items()):
        return annotations
    about = {"task": annotations.task.as_dict(), "inputs": after, "said": said}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_index(file, samples, {what: json.dumps(value) for what, value in about.items()})
    except OSError as error:
        _say_once(f"no cache in {file.parent} ({error.strerror or error}): annotations are read at every start")
        return annotations
    return replace(annotations, samples=load_index(file)[0])  # mapped, so that processes share it


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
    """The warnings that this package logs: logger and text."""
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
def _say_once(text: str) -> None:
    logger.warning("%s", text)
