"""Errors that are the user's to mend: shown without a traceback."""

from __future__ import annotations

import os
import re
from argparse import ArgumentError
from collections.abc import Iterator
from contextlib import contextmanager

from vidcore.redaction import redacted


class UserError(Exception):
    """Something in the user's hands is wrong: a name, a value, a file. Its text says what, and what would be right.

    Passwords and tokens of URLs are left out of the text.
    """

    def __init__(self, text: object = "") -> None:
        super().__init__(redacted(str(text)))


class UsageError(UserError):
    """The command line is wrong: ``vid`` exits with status 2."""


class OptionError(UserError, ValueError):
    """An option has a value outside its range or its choices; ``vid`` exits with status 2."""


_FRAME = re.compile(
    r"Parser key|Does not validate|Subtypes:|Errors:|Problem with given|Given value|Expected a path but|"
    r"Expected a <class 'NoneType'>|Sub(class )?types? expect|a class path \(str\)|a dict with|$"
)


def reasons(message: str) -> list[str]:
    """The lines of jsonargparse's message about a value without those about all the types that it tried."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    return [line for line in lines if not _FRAME.match(line)]


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, then the errors that it comes from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def one_line(error: BaseException, length: int = 300) -> str:
    """What an error of a library says, in one line of at most ``length`` characters.

    That is the text of the [`UserError`][vidcore.errors.UserError] behind it, or else its own, with the type where that
    says more.
    """
    known = next((str(cause) for cause in causes(error) if isinstance(cause, UserError)), None)
    if known is None:
        keys = re.findall(r'Parser key "([^"]+)"', str(error))[1:]
        text = ": ".join([*keys[-1:], "; ".join(dict.fromkeys(reasons(str(error))))])
        plain = text and isinstance(error, (ArgumentError, OSError, RuntimeError, ValueError))
        known = text if plain else f"{type(error).__name__}: {text}"
    known = " ".join(known.split()).replace(":;", ":").rstrip(": ")
    return known if len(known) <= length else f"{known[:length]} …"


@contextmanager
def naming(path: str | os.PathLike[str], what: str = "cannot load {}") -> Iterator[None]:
    """Turn any error into a [`UserError`][vidcore.errors.UserError] of one line that names the file.

    A checkpoint or weights file may hold anything, and what a model, Lightning or torch raises for it is of many kinds.

    Args:
        path: The file.
        what: What failed, with braces for the path.
    """
    try:
        yield
    except Exception as error:
        named = next((str(e) for e in causes(error) if isinstance(e, UserError) and str(path) in str(e)), None)
        if named is not None and named == str(error):
            raise
        raise UserError(named or f"{what.format(path)}: {one_line(error)}") from error
