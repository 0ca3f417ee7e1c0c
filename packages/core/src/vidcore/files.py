"""Which files are videos."""

from __future__ import annotations

VIDEO_ENDINGS = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""In lower case; what a folder holds besides is passed over."""
