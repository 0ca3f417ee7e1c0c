"""Passwords and tokens in URLs, which are left out of whatever is shown or written."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import unquote

HIDDEN = "***"
"""What stands in place of a secret."""

# User and password, which may contain an unquoted slash where the part before it is no host and port.
_USER = re.compile(r'(?<=://)(?:[^\s/?#"]*|(?!\[)[^\s/?#@:"]+:(?!\d*(?:[/?#\s"]|$))[^\s@"]*)@')
_URL = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]*""")
_PARAMETER = re.compile(r"(?<=[?&;#])([^=&;#]+)=([^&;#]+)")
_SECRET = re.compile(
    r"token|secret|passw|pwd|auth|credential|key|session|jwt|hmac|policy|(^|[^a-z])(pass|sas|sig(n(ature)?)?)([^a-z]|$)"
    r"|signature|^x-(amz|goog|oss|cos|ms)-",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """A text with the user names, passwords and tokens of all URLs in it replaced by ``***``.

    Tokens are the values of query and fragment parameters that are called ``token``, ``signature``, ``sig``, ``key``,
    ``X-Amz-…`` and the like.

    Example:
        >>> redacted("cannot read https://me:word@host/a.mp4?id=3&token=abc: not found")
        'cannot read https://***@host/a.mp4?id=3&token=***: not found'
    """
    if "://" not in text:
        return text
    return _URL.sub(lambda url: _PARAMETER.sub(_hidden, url[0]), _USER.sub(f"{HIDDEN}@", text))


def without_secrets_of(url: str, text: str) -> str:
    """A text ``redacted``, and without the secrets of a URL in whatever form a library quotes it."""
    found = [user[0][:-1] for user in _USER.finditer(url)]
    found += [user.partition(":")[2] for user in found]
    found += [value for name, value in _PARAMETER.findall(url) if _SECRET.search(unquote(name))]
    for secret in sorted({form for each in found for form in (each, unquote(each)) if len(form) > 3}, key=len)[::-1]:
        text = text.replace(secret, HIDDEN)
    return redacted(text)


def _hidden(parameter: re.Match[str]) -> str:
    name, value = parameter.groups()
    if not _SECRET.search(unquote(name)):
        return parameter[0]
    return f"{name}={HIDDEN}{':' if value.endswith(':') else ''}"  # a colon ends the URL of a message


def labels(paths: Iterable[str]) -> dict[str, str]:
    """What videos are called in results: their paths, ``redacted``.

    Where that makes the paths of several equal, ``#`` and 8 digits of a hash of the path tell them apart.
    """
    found = {path: redacted(path) for path in paths}
    if all(label is path for path, label in found.items()):  # as a rule, and there may be millions
        return found
    count = Counter(found.values())
    return {path: label if count[label] == 1 else f"{label}#{_digest(path)}" for path, label in found.items()}


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
