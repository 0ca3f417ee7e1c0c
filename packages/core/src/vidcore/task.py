"""What is predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Kind = Literal["single_label", "multi_label", "detection"]


@dataclass(frozen=True)
class Task:
    r"""The kind of prediction and the names of the classes.

    Data sets define it, models are built for it, checkpoints store it.

    Args:
        kind: ``single_label`` (one class a video), ``multi_label`` (any number), or ``detection`` (boxes in frames).
        classes: Class names in index order; at least one, no name twice. Bytes that are not UTF-8, as a folder's name
            may have, are written out: ``caf\udce9``.

    Raises:
        ValueError: An unknown kind, no class, or a class name that is blank, no text, or occurs twice.

    Example:
        >>> Task("single_label", ("clap", "wave")).num_classes
        2
    """

    kind: Kind
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.classes, (str, Mapping)) or not isinstance(self.classes, Iterable):
            raise ValueError(f"task classes must be a list of names, not {self.classes!r}")
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.kind not in get_args(Kind):
            raise ValueError(f"task kind {self.kind!r} is not one of {', '.join(get_args(Kind))}")
        if not self.classes:
            raise ValueError("a task needs at least one class")
        odd = [name for name in self.classes if not isinstance(name, str) or not name.strip()]
        if odd:
            raise ValueError(f"class names must be text that is not blank, not {odd[0]!r}")
        # File names that are not UTF-8 become class names; what is written or drawn must be UTF-8.
        classes = tuple(name.encode("utf-8", "backslashreplace").decode() for name in self.classes)
        object.__setattr__(self, "classes", classes)
        twice = sorted(name for name, count in Counter(self.classes).items() if count > 1)
        if twice:
            raise ValueError(f"class names occur twice: {', '.join(twice)}")

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)

    @classmethod
    def numbered(cls, num_classes: int, kind: Kind = "single_label") -> Task:
        """A task whose classes are called ``"0"``, ``"1"``, …: for costing and tests, where names do not matter."""
        return cls(kind, tuple(str(index) for index in range(num_classes)))

    @classmethod
    def of(cls, value: Task | Mapping[str, Any]) -> Task:
        """The task itself, or the one that [`as_dict`][vidcore.task.Task.as_dict] described (as checkpoints hold it).

        Raises:
            ValueError: See [`Task`][vidcore.task.Task]; or the value is not a mapping of ``kind`` and ``classes``.
        """
        if isinstance(value, Task):
            return value
        if not isinstance(value, Mapping) or value.keys() != {"kind", "classes"}:
            raise ValueError("a task is described by kind and classes")
        return cls(**value)

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, so that a checkpoint that holds it loads with ``weights_only=True``."""
        return {**asdict(self), "classes": list(self.classes)}
