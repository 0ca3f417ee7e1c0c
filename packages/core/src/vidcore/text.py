"""Text that any reader takes: names of files that are not UTF-8, and JSON of numbers that are not finite."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

# Backslashes before a byte that is not UTF-8, and before what could be taken for such a byte written out.
_BACKSLASHES = re.compile(r"\\+(?=[\ud800-\udfff]|ud[89a-f][0-9a-f]{2})")


_UNDECODED = re.compile("[\ud800-\udfff]")


def is_utf8(text: str) -> bool:
    """Return whether a text, such as the name of a file, can be encoded as UTF-8."""
    return _UNDECODED.search(text) is None


def printable(text: str) -> str:
    r"""Write out the bytes of a file name that are not UTF-8, as Python does in strings: ``caf\udce9.mp4``.

    Different texts stay different: backslashes that stand before such a byte, or before ``udce9`` and the like, are
    doubled. All other text is returned as it is.

    Example:
        >>> print(printable("caf\udce9.mp4"), printable(r"caf\udce9.mp4"), printable("café.mp4"))
        caf\udce9.mp4 caf\\udce9.mp4 café.mp4
    """
    return _BACKSLASHES.sub(lambda run: 2 * run[0], text).encode("utf-8", "backslashreplace").decode()


def to_json(value: Any, **options: Any) -> str:
    """Encode as JSON, with ``null`` for numbers that are not finite, which JSON does not have.

    Args:
        value: Of plain types.
        **options: See ``json.dumps``.
    """
    return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
