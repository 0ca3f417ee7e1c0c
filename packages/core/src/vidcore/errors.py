"""Errors that are the user's to mend: shown without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something in the user's hands is wrong: a name, a value, a file. Its text says what, and what would be right."""
