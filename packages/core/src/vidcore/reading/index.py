"""Many samples in a few arrays, which processes share, and the file that holds them.

A worker that looks at a Python object writes to its reference count, so that the system copies the page that the object
lies in: of a list of samples every forked worker ends up with its own. Arrays are only read.
"""

from __future__ import annotations

import math
import operator
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import fields
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vidcore.errors import UserError
from vidcore.sample import Sample
from vidcore.writing import replacing

UNLABELLED, INDEX, INDICES, MAPPING = range(4)
"""The kinds of a sample's target."""

_OFFSETS = ".offsets"
# What Sample holds besides the target, by its type.
_TEXT = [field.name for field in fields(Sample) if field.type == "str"]
_NUMBERS = [field.name for field in fields(Sample) if field.type == "float | None"]
assert {*_TEXT, *_NUMBERS, "target"} == {field.name for field in fields(Sample)}


class _File(NamedTuple):
    path: str
    split: str
    checksum: str


class SampleIndex(Sequence[Sample]):
    """Samples in columns. It gives equal ones back, but for labels (int, and tuples of int) and arrays (numpy's).

    Args:
        arrays: What [`of`][vidcore.reading.index.SampleIndex.of] makes. N pieces of different length lie one after the
            other in ``NAME``, and where they begin and end in ``NAME.offsets`` (N + 1,) int64. Text is UTF-8, uint8.
            ``kind`` (N,) uint8 tells what a target is; class indices are in ``target``, what a mapping holds in
            ``target.KEY``. Columns of numbers are (N,) float64 with NaN for None, and left out where all are.
        file: Where the arrays were mapped from, which is sent to spawned workers in place of them.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], file: _File | None = None) -> None:
        self.arrays = dict(arrays)
        self._file = file

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> SampleIndex:
        """The samples as an index; an index as it is.

        Raises:
            UserError: A target that is neither a class index, nor several, nor a mapping of arrays, nor None.
        """
        if isinstance(samples, cls):
            return samples
        arrays: dict[str, np.ndarray] = {}
        for name in _TEXT:
            _add_texts(arrays, name, [getattr(sample, name) for sample in samples])
        for name in _NUMBERS:
            numbers = [getattr(sample, name) for sample in samples]
            if any(number is not None for number in numbers):
                arrays[name] = np.array([math.nan if number is None else number for number in numbers], np.float64)
        _add_targets(arrays, samples)
        return cls(arrays)

    @classmethod
    def labelled(cls, paths: Sequence[str], targets: Sequence[int], ids: Sequence[str]) -> SampleIndex:
        """Samples of one class each, from columns of one length; a third of the time that objects take."""
        arrays: dict[str, np.ndarray] = {}
        _add_texts(arrays, "path", paths)
        _add_texts(arrays, "id", ids)
        arrays["kind"] = np.full(len(paths), INDEX, np.uint8)
        arrays["target"] = np.asarray(targets, np.int64)
        arrays["target" + _OFFSETS] = np.arange(len(paths) + 1)
        return cls(arrays)

    @property
    def kinds(self) -> np.ndarray:
        """(N,) uint8, what each target is: one of ``UNLABELLED``, ``INDEX``, ``INDICES``, ``MAPPING``."""
        return self.arrays["kind"]

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """All class indices and the number of the sample that each belongs to, both (L,) int64."""
        name = "target.labels" if "target.labels" in self.arrays else "target"
        return self.arrays[name], np.repeat(np.arange(len(self)), np.diff(self.arrays[name + _OFFSETS]))

    @property
    def paths(self) -> list[str]:
        """The path of every sample; faster than asking them."""
        buffer, offsets = self.arrays["path"].tobytes(), self.arrays["path" + _OFFSETS].tolist()
        return [_decoded(buffer[begin:end]) for begin, end in pairwise(offsets)]

    def take(self, rows: np.ndarray) -> SampleIndex:
        """Those of some numbers, (M,) int64, in that order."""
        arrays: dict[str, np.ndarray] = {}
        for name, array in self.arrays.items():
            if name + _OFFSETS in self.arrays:
                offsets = self.arrays[name + _OFFSETS]
                lengths = np.diff(offsets)[rows]
                arrays[name + _OFFSETS] = ends = np.concatenate([[0], np.cumsum(lengths)])
                arrays[name] = array[np.repeat(offsets[rows] - ends[:-1], lengths) + np.arange(ends[-1])]
            elif not name.endswith(_OFFSETS):
                arrays[name] = array[rows]
        return SampleIndex(arrays)

    def relabelled(self, numbers: np.ndarray) -> SampleIndex:
        """The same samples with other class indices: those of index i get ``numbers[i]``, (K,) int64."""
        name = "target.labels" if "target.labels" in self.arrays else "target"
        return SampleIndex({**self.arrays, name: numbers[self.arrays[name]]})

    def moved(self, paths: Sequence[str]) -> SampleIndex:
        """The same samples with other paths; their ids stay."""
        arrays = dict(self.arrays)
        _add_texts(arrays, "path", paths)
        return SampleIndex(arrays)

    def __len__(self) -> int:
        return len(self.kinds)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> SampleIndex: ...
    def __getitem__(self, index: int | slice) -> Sample | SampleIndex:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index]
        values: dict[str, Any] = {name: _decoded(self._piece(name, row).tobytes()) for name in _TEXT}
        for name in _NUMBERS:
            if name in self.arrays and not math.isnan(number := self.arrays[name][row].item()):
                values[name] = number
        return Sample(target=self._target(row), **values)

    def __iter__(self) -> Iterator[Sample]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SampleIndex):
            return self.arrays.keys() == other.arrays.keys() and all(
                np.array_equal(array, other.arrays[name], equal_nan=array.dtype.kind == "f")
                for name, array in self.arrays.items()
            )
        if isinstance(other, Sequence):
            return len(self) == len(other) and all(map(operator.eq, self, other))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<SampleIndex of {len(self)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopened, (self._file,)) if self._file else (SampleIndex, (self.arrays,))

    def _piece(self, name: str, row: int) -> np.ndarray:
        begin, end = self.arrays[name + _OFFSETS][row : row + 2]
        return self.arrays[name][begin:end]

    def _target(self, row: int) -> Any:
        kind = self.kinds[row]
        if kind == UNLABELLED:
            return None
        if kind == MAPPING:
            keys = [name.removeprefix("target.") for name in self.arrays if name.startswith("target.")]
            return {key: self._piece(f"target.{key}", row) for key in keys if not key.endswith("offsets")}
        labels = self._piece("target", row).tolist()
        return labels[0] if kind == INDEX else tuple(labels)


def save_index(path: Path, splits: Mapping[str, SampleIndex], about: Mapping[str, str]) -> None:
    """Writes the indices of a data set into one file (safetensors): it is either complete or not there.

    Args:
        path: The file; its folder exists.
        splits: An index for each split.
        about: What is kept with them.

    Raises:
        OSError: The system's own; what was at ``path`` is as it was.
    """
    arrays = {f"{split}/{name}": array for split, index in splits.items() for name, array in index.arrays.items()}
    about = {**about, "splits": "/".join(splits)}
    try:
        with replacing(path) as part:
            save_file(arrays, part, {**about, "checksum": _checksum(arrays, about)})
    except SafetensorError as error:  # a full disk, among others
        raise OSError(f"{path}: {error}") from error


def load_index(path: str | Path) -> tuple[dict[str, SampleIndex], dict[str, str]]:
    """Maps the file that [`save_index`][vidcore.reading.index.save_index] wrote into memory.

    Returns:
        An index for each split, and what was kept with them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or another file.
    """
    try:
        with safe_open(os.fspath(path), "pt") as file:  # torch maps tensors, numpy copies them
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ValueError(f"{path}: {error}") from error
    checksum = about.pop("checksum", "")
    if checksum != _checksum(arrays, about):
        raise ValueError(f"{path}: wrong checksum")
    splits: dict[str, dict[str, np.ndarray]] = {split: {} for split in about.pop("splits").split("/")}
    for key, array in arrays.items():
        split, _, name = key.partition("/")
        splits[split][name] = array
    source = os.fspath(path)
    return {split: SampleIndex(found, _File(source, split, checksum)) for split, found in splits.items()}, about


def _reopened(file: _File) -> SampleIndex:
    index = load_index(file.path)[0][file.split]
    if index._file != file:
        raise UserError(f"{file.path} was rewritten while workers were started: start again")
    return index


def _checksum(arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> str:
    header = [*sorted(about.items()), *((name, arrays[name].dtype.str, arrays[name].shape) for name in sorted(arrays))]
    checksum = zlib.crc32(repr(header).encode("utf-8", "surrogateescape"))
    for name in sorted(arrays):
        checksum = zlib.crc32(arrays[name].data, checksum)
    return f"{checksum:08x}"


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")  # a file's name may be no UTF-8


def _add_texts(arrays: dict[str, np.ndarray], name: str, texts: Sequence[str]) -> None:
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    arrays[name] = np.frombuffer(b"".join(encoded), np.uint8)
    arrays[name + _OFFSETS] = _offsets(encoded)


def _offsets(pieces: Sequence[Sized]) -> np.ndarray:
    return np.cumsum([0, *map(len, pieces)], dtype=np.int64)


def _add_targets(arrays: dict[str, np.ndarray], samples: Sequence[Sample]) -> None:
    found = [_kind_and_labels(sample) for sample in samples]
    labels = [labels for _, labels in found]
    arrays["kind"] = np.array([kind for kind, _ in found], np.uint8)
    arrays["target"] = np.fromiter(chain.from_iterable(labels), np.int64)
    arrays["target" + _OFFSETS] = _offsets(labels)
    mappings = [sample.target if kind == MAPPING else None for (kind, _), sample in zip(found, samples, strict=True)]
    for key in dict.fromkeys(key for mapping in mappings if mapping is not None for key in mapping):
        pieces = [
            None if mapping is None else _array(key, sample) for mapping, sample in zip(mappings, samples, strict=True)
        ]
        # An empty list has neither the type nor the further dimensions of the others.
        like = next((piece for piece in pieces if piece is not None and piece.size), np.empty(0))
        filled = [like[:0] if piece is None or not piece.size else piece for piece in pieces]
        try:
            arrays[f"target.{key}"] = np.concatenate(filled)
        except ValueError as error:
            raise UserError(f"{key!r} is of different shapes in the targets of samples: {error}") from error
        arrays[f"target.{key}{_OFFSETS}"] = _offsets(filled)


def _kind_and_labels(sample: Sample) -> tuple[int, tuple[int, ...]]:
    target = sample.target
    if isinstance(target, int):
        return INDEX, (int(target),)
    if target is None:
        return UNLABELLED, ()
    if isinstance(target, Mapping):
        return MAPPING, ()
    with suppress(TypeError):
        return INDICES, tuple(map(operator.index, target))
    with suppress(TypeError):
        return INDEX, (operator.index(target),)
    raise UserError(f"{sample.path} is labelled {target!r}, which is no class: neither an index nor several")


def _array(key: str, sample: Sample) -> np.ndarray:
    try:
        array = np.asarray(sample.target[key])
    except (KeyError, ValueError, TypeError):
        array = np.empty(())
    if not array.ndim or array.dtype.kind not in "biuf":
        raise UserError(f"{sample.path}: {key!r} of its target must be an array of numbers, as in other samples")
    return array
