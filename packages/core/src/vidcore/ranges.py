"""Ranges and choices of options, checked by the class that has the option."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from vidcore.errors import OptionError

_INTERVAL = re.compile(r"([\[(])(\S+), (\S+)([\])])")


def check_ranges(values: Mapping[str, Any], ranges: Mapping[str, str], prefix: str = "") -> None:
    """Refuse numbers outside their ranges.

    Args:
        values: Numbers, or sequences of numbers, by name. A missing one and ``None`` pass.
        ranges: Interval by name, e.g. ``"[0, 1)"`` or ``"[1, inf)"``. NaN and infinity are in none.
        prefix: Written before the name in the error, e.g. ``"augment."``.

    Raises:
        OptionError: A value is no number or outside its interval.
    """
    for name, interval in ranges.items():
        value = values.get(name)
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if value is not None and not all(in_range(number, interval) for number in numbers):
            raise OptionError(f"{prefix}{name} must be {described(interval)}, got {value}")


def class_ranges(cls: type) -> dict[str, str]:
    """The ``RANGES`` of a class and of its base classes, those of the class itself last."""
    merged: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        merged |= vars(base).get("RANGES", {})
    return merged


def in_range(number: Any, interval: str) -> bool:
    """Whether it is a finite number in the interval."""
    if not isinstance(number, (int, float)) or not math.isfinite(number):
        return False
    opening, low, high, closing = _parsed(interval)
    above = number >= low if opening == "[" else number > low
    return above and (number <= high if closing == "]" else number < high)


def described(interval: str) -> str:
    """An interval in words.

    >>> described("[0, 1]"), described("[1, inf)"), described("(0, inf)")
    ('between 0 and 1', 'at least 1', 'greater than 0')
    >>> described("[0, 1)"), described("(0, 1]")
    ('at least 0 and less than 1', 'greater than 0 and at most 1')
    """
    opening, low, high, closing = _parsed(interval)
    if (opening, closing) == ("[", "]"):
        return f"between {low:.12g} and {high:.12g}"
    least = f"{'at least' if opening == '[' else 'greater than'} {low:.12g}"
    return least if high == math.inf else f"{least} and {'at most' if closing == ']' else 'less than'} {high:.12g}"


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse a value that is not among the choices.

    Raises:
        OptionError: Lists the choices.
    """
    if value not in choices:
        raise OptionError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")


def _parsed(interval: str) -> tuple[str, float, float, str]:
    match = _INTERVAL.fullmatch(interval)
    assert match is not None, interval
    return match[1], float(match[2]), float(match[3]), match[4]
