"""CSV files with one line per clip."""

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
from vidcore.errors import UserError
from vidcore.reading.dataset import Sample
from vidcore.reading.index import SampleIndex
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
    """Read a CSV file (UTF-8, comma-separated, with a header) with one line per clip.

    Columns: ``path``; the label (several joined by ``;``); optionally ``start`` and ``end`` in seconds, the split
    (``train``, ``val``, ``valid``, ``validation`` or ``test``), and ``label_id``. Other columns are ignored. Classes
    are ordered by ``label_id`` if it maps one to one to the labels, otherwise sorted by name. Missing splits are drawn
    by ``vidcore_datasets.annotations.complete_splits`` and saved beside the file as ``NAME.splits.csv``. The existence
    of the videos is not checked, see [`require_files`][vidcore_datasets.csv.require_files].

    Args:
        path: CSV file, or URL that fsspec can read.
        root: Folder or URL that the paths are relative to. Default: folder of the CSV file.
        split_column: Column with the split; may be missing only if it is ``split``, the default.
        label_column: Column with the classes. Default: ``label``.
        multi_label: Whether a clip may have any number of classes, including none. Also multi-label if any label
            contains ``;``, but then each clip needs a label. Default: False.
        seed: Random seed of drawn splits.
        trained_on: For evaluation: whether the model was trained on this file. If not None, a single class is allowed;
            see also ``vidcore_datasets.annotations.complete_splits``.

    Returns:
        The task and its samples. A sample's target is its class index, or a tuple of them if multi-label. Its id is its
        path in the file, plus ``#START-END`` for a part of a video; passwords and tokens of URLs are removed.

    Raises:
        UserError: A missing file or column, an invalid cell, clips without a label, a clip that is listed twice, or a
            single class. The message names the file, the line and the column.
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
        raise UserError(f"{path}: {found} in column {label_column!r}; at least two are required")
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
            raise row.error("end", f"must be after start ({start or 0.0:g} s), got {end:g} s")
        part = "" if start is None and end is None else f"#{start or 0.0:g}-{'' if end is None else f'{end:g}'}"
        name = row.get("path") + part
        if name in line_of:
            raise row.error("path", f"{name!r} is already listed in line {line_of[name]}")
        line_of[name] = row.line
        split = split_named(row.get(split_column)) if row.has(split_column) else "train"
        if split is None:
            raise row.error(split_column, f"must be train, val or test, got {row.get(split_column)!r}")
        target = tuple(sorted({index[label] for label in labels})) if several else index[labels[0]]
        video = called[row.get("path")] + part
        given[split].append(Sample(joined(folder, row.get("path")), target, id=video, start=start, end=end))

    samples = complete_splits(given, Path(root), path.with_name(f"{path.stem}.splits.csv"), seed, trained_on)
    annotations = Annotations(Task("multi_label" if several else "single_label", tuple(classes)), samples)
    warn_of_unseen(annotations, path)
    return annotations


def _read_remote(url: str, root: str | Path | None, *options: Any) -> Annotations:
    """Read a copy of the file. Drawn splits are not saved: the same file gives the same splits."""
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
    """Check that files, or folders of frames, exist.

    Raises:
        UserError: Some do not; the message has ``where`` they are listed, the first few and their number.
    """
    missing = sorted(set(paths) - existing(paths))
    if missing:
        raise UserError(f"{where} lists files that do not exist: {first_few(missing)}; is `root` correct?")


class _Row:
    """A line of a CSV file with its position, for error messages."""

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
            raise self.error(column, f"must be a time in seconds, 0 or more, got {self.get(column)!r}")
        return value

    def error(self, column: str, what: str) -> UserError:
        return UserError(f"{self.file}, line {self.line}, column {column!r}: {what}")


def _rows(path: Path, root: str, required: set[str]) -> list[_Row]:
    if not path.is_file():
        raise UserError(f"{path} {'is not a file' if path.exists() else 'does not exist'}: expected a CSV file")
    lines = read_table(path, errors="surrogateescape")  # file names may contain bytes that are not UTF-8
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
            raise UserError(f"{path}, line {line}: expected {len(header)} columns as in the header, got {len(cells)}")
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
    logger.warning("%s: label_id does not map one to one to label: classes are sorted by name", path)
    return None


class Csv(Annotated):
    """Clips listed in a CSV file, see [`read_csv`][vidcore_datasets.csv.read_csv].

    Args:
        path: CSV file with the columns ``path`` and ``label``, optionally ``start``, ``end`` and ``split``.
        root: Folder that the paths are relative to. Default: folder of the CSV file.
        split_column: Column with the split.
        label_column: Column with the classes, several joined by ``;``.
        multi_label: Whether a clip may have any number of classes, even if no label contains ``;``. Default: False.
        seed: Random seed of the splits that are drawn if the file has none. They are saved as ``NAME.splits.csv``.
        **kwargs: Passed to [`VideoDataModule`][vidcore.datamodule.VideoDataModule].
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
        self.cached = not is_url(path)  # a URL has no modification time to compare
        self.path = path
        self.root = root
        self.split_column = split_column
        self.label_column = label_column
        self.multi_label = multi_label
        self.seed = seed

    def read(self) -> Annotations:
        """Read the CSV file."""
        several = self.multi_label or (self.model_task is not None and self.model_task.kind == "multi_label")
        options = (self.split_column, self.label_column, several, self.seed)
        return read_csv(self.path, self.root, *options, self.trained_on)

    def samples(self, split: str) -> SampleIndex:
        """Return the clips of a split, after checking that their files exist.

        Raises:
            UserError: Files do not exist.
        """
        samples = super().samples(split)
        require_files([path for path in samples.paths if not is_url(path)], self.path)
        return samples
