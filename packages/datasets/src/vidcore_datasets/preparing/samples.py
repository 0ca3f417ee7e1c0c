"""Write ``samples.jsonl``, the last file of a target: task and samples with the paths of their prepared videos."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vidcore.redaction import labels, redacted, without_secrets_of
from vidcore.sample import Sample
from vidcore.task import Task
from vidcore.writing import cell
from vidcore_datasets.preparing import shards
from vidcore_datasets.preparing.jobs import Prepared, Result, Settings
from vidcore_datasets.preparing.target import write_file

SAMPLES = "samples.jsonl"
VERSION = 1
"""Version of the format."""
UNREADABLE = "unreadable.csv"


def write_samples(
    samples: Mapping[str, Sequence[Sample]], task: Task, settings: Settings, results: Iterable[Result]
) -> int:
    """Write ``samples.jsonl``, which completes the target, and LitData's index of shards.

    The first line has the task and the sizes of the shards, each other line a sample with its path below the target.

    Returns:
        Number of samples left out because their videos cannot be read.

    Raises:
        UserError: The target is not writable.
    """
    prepared: dict[str, Prepared] = {}
    sizes: list[tuple[str, int, int]] = []
    for result in results:
        prepared |= {each.source: each for each in result.prepared}
        if settings.form == "shards" and result.prepared:
            sizes.append((result.job.name, result.after, len(result.prepared)))
    sizes.sort(key=lambda size: shards.shard_number(size[0]))
    head = {"version": VERSION, "task": task.as_dict(), "shards": {name: size for name, size, _ in sizes}}
    lines, left_out = [json.dumps(head)], 0
    for split, part in samples.items():
        for sample in part:
            done = prepared.get(sample.path)
            if done is None:
                left_out += 1
                continue
            if settings.form == "frames":
                sample = replace(sample, fps=done.fps)
            lines.append(json.dumps({"path": done.path, **as_json(split, sample, done.scale)}))
    if settings.form == "shards":
        write_file(settings.target, "index.json", shards.index_of(sizes))
    write_file(settings.target, SAMPLES, "\n".join([*lines, ""]).encode())
    return left_out


def write_unreadable(unreadable: Mapping[str, str], settings: Settings) -> str:
    """Write ``unreadable.csv`` with the columns ``path`` and ``reason``, and return its name.

    Raises:
        UserError: The target is not writable.
    """
    table, called = io.StringIO(), labels(unreadable)
    rows = sorted((called[path], without_secrets_of(path, reason)) for path, reason in unreadable.items())
    csv.writer(table, lineterminator="\n").writerows([("path", "reason"), *(map(cell, row) for row in rows)])
    # Names of files may hold bytes that are no text; they are written as they are.
    write_file(settings.target, UNREADABLE, table.getvalue().encode("utf-8", "surrogateescape"))
    return UNREADABLE


def as_json(split: str, sample: Sample, scale: tuple[float, float] = (1.0, 1.0)) -> dict[str, Any]:
    """Return a sample as JSON values, without its path and without None values.

    Args:
        split: Split of the sample.
        sample: Sample to convert.
        scale: Pixels of the prepared frame per source pixel, horizontally and vertically, to scale boxes.
    """
    target = sample.target
    if isinstance(target, Mapping):
        boxes = np.asarray(target["boxes"], np.float64).reshape(-1, 4) * (*scale, *scale)
        target = {key: np.asarray(value).tolist() for key, value in {**target, "boxes": boxes}.items()}
    elif target is not None:
        target = np.asarray(target).tolist()
    row = {"split": split, "id": redacted(sample.id), "target": target}
    row |= {"start": sample.start, "end": sample.end, "fps": sample.fps}
    return {key: value for key, value in row.items() if value is not None}
