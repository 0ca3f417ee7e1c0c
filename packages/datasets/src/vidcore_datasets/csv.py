"""A CSV file with one line for each clip."""

from __future__ import annotations

import logging
import math
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vidcore import redaction
from vidcore.dataset import Sample
from vidcore.errors import UserError
from vidcore.index import SampleIndex
from vidcore.task import Task
from vidcore.text import is_utf8
from vidcore.video.source import is_url, joined, read_bytes
from vidcore_datasets.annotated import Annotated
from vidcore_datasets.annotations import Annotations, beginning, complete_splits, warn_of_unseen
from vidcore_datasets.find_videos import existing
from vidcore_datasets.inputs import depends_on
from vidcore_datasets.splits import SPLITS, Split, first_few, split_named
from vidcore_datasets.tables import read_table

logger = logging.getLogger(__name__)


def read_csv(
    path: str | Path,
    root: str | Path | None = None,
    split_column: str = "split",
    label_column: str = "label",
    multi_label: bool = False,
    seed: int = 0,
    trained_on: bool | None = None,
) -> Annotations:
    """Reads a CSV file (UTF-8, commas, a header) with a line for each clip.

    Columns: ``path``; the label, several joined by ``;``; optionally ``start`` and ``end`` in seconds, the split
    (``train``, ``val``, ``valid``, ``validation`` or ``test``), and ``label_id``. Others are ignored. Classes are in
    the order of ``label_id`` where it goes with the labels one to one, else sorted. Splits that are not there are
    filled in by :func:`~vidcore_datasets.annotations.complete_splits` and kept beside the file, as
    ``NAME.splits.csv``. No video is looked at, see :func:`require_files`.

    Args:
        path: The CSV file, also at a URL that fsspec reads.
        root: Folder or URL that the paths in it are relative to; the CSV file's own if not given.
        split_column: Column that names the split; only ``split``, the default, may be absent.
        label_column: Column that names the classes.
        multi_label: Whether a clip may have several classes or none. It also may if any label has a ``;``, but then
            each clip needs one.
        seed: Of the splits that are drawn.
        trained_on: Where a trained model is evaluated, whether it was trained on this file. The file may then have one
            class; see also :func:`~vidcore_datasets.annotations.complete_splits`.

    Returns:
        The task and its samples. A sample's target is its class index, or the tuple of them where multi-label; its id
        is its path as the file has it, with ``#START-END`` added where it is a part of a video, and without passwords
        and tokens where it is a URL.

    Raises:
        UserError: A missing file or column, a cell that cannot be understood, unlabelled clips, a clip that is listed
            twice, only one class. The text names the file, the line and the column.
    """
    if is_url(path):
        return _read_remote(str(path), root, split_column, label_column, multi_label, seed, trained_on)
    path = depends_on(Path(path))
    root = str(path.parent if root is None else root)
    rows = _rows(path, root, {"path", label_column} | ({split_column} - {"split"}))
    names = [[name for part in row.get(label_column).split(";") if (name := part.strip())] for row in rows]
    several = multi_label or any(";" in row.get(label_column) for row in rows)
    unlabelled = [f"line {row.line}" for row, labels in zip(rows, names, strict=True) if not labels]
    if unlabelled and not multi_label:
        raise UserError(f"{path}: clips without a label (column {label_column!r}): {first_few(unlabelled)}")

    classes = sorted({name for labels in names for name in labels})
    if len(classes) < 2 and not (classes and (several or trained_on is not None)):
        found = f"only one class, {classes[0]!r}" if classes else "no class"
        raise UserError(f"{path}: {found} in column {label_column!r}; two or more are needed")
    if not several and label_column == "label" and rows[0].has("label_id"):
        classes = _order_by_id(path, rows, [labels[0] for labels in names]) or classes
    index = {name: number for number, name in enumerate(classes)}

    called = redaction.labels(dict.fromkeys(row.get("path") for row in rows))
    given: dict[Split, list[Sample]] = {split: [] for split in SPLITS}
    line_of: dict[str, int] = {}
    folder = root if is_url(root) else beginning(Path(root))
    for row, labels in zip(rows, names, strict=True):
        if not row.get("path"):
            raise row.error("path", "is empty")
        start, end = row.seconds("start"), row.seconds("end")
        if end is not None and end <= (start or 0.0):
            raise row.error("end", f"is {end:g} s, not after start {start or 0.0:g} s")
        part = "" if start is None and end is None else f"#{start or 0.0:g}-{'' if end is None else f'{end:g}'}"
        name = row.get("path") + part
        if name in line_of:
            raise row.error("path", f"{name!r} is listed already in line {line_of[name]}")
        line_of[name] = row.line
        split = split_named(row.get(split_column)) if row.has(split_column) else "train"
        if split is None:
            raise row.error(split_column, f"{row.get(split_column)!r} is not train, val or test")
        target = tuple(sorted({index[label] for label in labels})) if several else index[labels[0]]
        video = called[row.get("path")] + part
        given[split].append(Sample(joined(folder, row.get("path")), target, id=video, start=start, end=end))

    samples = complete_splits(given, Path(root), path.with_name(f"{path.stem}.splits.csv"), seed, trained_on)
    annotations = Annotations(Task("multi_label" if several else "single_label", tuple(classes)), samples)
    warn_of_unseen(annotations, path)
    return annotations


def _read_remote(url: str, root: str | Path | None, *options: Any) -> Annotations:
    """Reads a copy of the file. Splits that are drawn are not kept: the same file gives the same ones."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / posixpath.basename(url)
        try:
            copy.write_bytes(read_bytes(url))
            return read_csv(copy, posixpath.dirname(url) if root is None else root, *options)
        except FileNotFoundError:
            raise UserError(f"{url} does not exist: expected a CSV file") from None
        except OSError as error:
            raise UserError(f"{url} cannot be read: {error.strerror or error}") from error
        except UserError as error:
            raise UserError(str(error).replace(str(copy), url)) from None


def require_files(paths: Sequence[str], where: str | Path) -> None:
    """Checks that files, or folders of frames, exist.

    Raises:
        UserError: Some do not; the text names ``where`` they are listed, the first few and their number.
    """
    missing = sorted(set(paths) - existing(paths))
    if missing:
        raise UserError(f"{where} lists files that do not exist: {first_few(missing)}; is `root` right?")


class _Row:
    """A line of a CSV file that knows where it is, for messages."""

    def __init__(self, file: Path, line: int, cells: dict[str, str]) -> None:
        self.file = file
        self.line = line
        self.cells = cells

    def has(self, column: str) -> bool:
        return column in self.cells

    def get(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def seconds(self, column: str) -> float | None:
        if not self.get(column):
            return None
        try:
            value = float(self.get(column))
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise self.error(column, f"{self.get(column)!r} is not a time in seconds, 0 or more")
        return value

    def error(self, column: str, what: str) -> UserError:
        return UserError(f"{self.file}, line {self.line}, column {column!r}: {what}")


def _rows(path: Path, root: str, required: set[str]) -> list[_Row]:
    if not path.is_file():
        raise UserError(f"{path} {'is not a file' if path.exists() else 'does not exist'}: expected a CSV file")
    lines = read_table(path, errors="surrogateescape")  # names of files may hold bytes that are not UTF-8
    _, first = next(lines, (1, []))
    header = [name.strip() for name in first]
    if not is_utf8("".join(header)):
        raise UserError(f"{path}, line 1: not UTF-8 text; save the file as UTF-8")
    lacking = sorted(required - set(header))
    if lacking:
        there = ", ".join(map(repr, header))
        raise UserError(f"{path}, line 1: no column {', '.join(map(repr, lacking))}; there are {there}")
    rows = []
    for line, cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {line}: the header has {len(header)} columns, this line not")
        row = _Row(path, line, dict(zip(header, cells, strict=True)))
        for column, cell in row.cells.items():
            if not is_utf8(cell) and not (column == "path" and Path(joined(root, cell.strip())).exists()):
                raise row.error(column, f"{cell!r} is not UTF-8 text; save the file as UTF-8")
        rows.append(row)
    if not rows:
        raise UserError(f"{path} has a header but no clips")
    return rows


def _order_by_id(path: Path, rows: Sequence[_Row], labels: Sequence[str]) -> list[str] | None:
    pairs = {(row.get("label_id"), label) for row, label in zip(rows, labels, strict=True)}
    ids = {number for number, _ in pairs}
    if len(ids) == len(pairs) == len({label for _, label in pairs}) and all(
        re.fullmatch(r"\d{1,9}", number) for number in ids
    ):
        return [label for _, label in sorted((int(number), label) for number, label in pairs)]
    logger.warning("%s: label_id does not go with label one to one, so classes are sorted by name", path)
    return None


class Csv(Annotated):
    """Clips that a CSV file lists, see :func:`read_csv`.

    Args:
        path: The CSV file, with the columns ``path`` and ``label``, and if need be ``start``, ``end`` and ``split``.
        root: Folder that the paths in it are relative to; the CSV file's own if not given.
        split_column: Column that names the split.
        label_column: Column that names the classes, several joined by ``;``.
        multi_label: Whether a clip may have several classes or none, where no ``;`` tells.
        seed: Of the splits that are drawn where the file names none. They are kept beside it, as ``NAME.splits.csv``.
        **kwargs: See :class:`~vidcore.datamodule.VideoDataModule`.
    """

    def __init__(
        self,
        path: str,
        root: str | None = None,
        split_column: str = "split",
        label_column: str = "label",
        multi_label: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cached = not is_url(path)  # which tells nothing of when it changed
        self.path = path
        self.root = root
        self.split_column = split_column
        self.label_column = label_column
        self.multi_label = multi_label
        self.seed = seed

    def read(self) -> Annotations:
        """What the file lists."""
        several = self.multi_label or (self.model_task is not None and self.model_task.kind == "multi_label")
        options = (self.split_column, self.label_column, several, self.seed)
        return read_csv(self.path, self.root, *options, self.trained_on)

    def samples(self, split: str) -> SampleIndex:
        """The clips of a split; their files exist."""
        samples = super().samples(split)
        require_files([path for path in samples.paths if not is_url(path)], self.path)
        return samples
