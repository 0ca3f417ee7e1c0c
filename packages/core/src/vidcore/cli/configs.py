"""Config files: read and checked before torch is imported, with the line of each key."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vidcore.errors import UsageError

MAX_BYTES = 10_000_000
"""Size of a config file."""

MAX_VALUES = 100_000
"""Values in a config once its aliases are expanded."""

MAX_DEPTH = 50
"""Levels of a config."""


def read_config(source: str) -> dict[str, Any]:
    """Read a config given as a file's path or as its text.

    Raises:
        UsageError: No such file, not YAML, not a mapping, or a key that stands twice.
    """
    return {} if is_remote(source) else copy.deepcopy(parsed(_text(source), where(source))[0])


def key_lines(source: str) -> dict[tuple[str, ...], int]:
    """The line, from 1, on which each key of a config stands, by the keys that lead to it."""
    return {} if is_remote(source) else parsed(_text(source), where(source))[1]


def as_text(config: Mapping[str, Any]) -> str:
    """Return a config as JSON that YAML reads too: characters such as 😀 are not escaped."""
    return json.dumps(config, default=str, ensure_ascii=False)


def is_remote(source: str) -> bool:
    """Whether jsonargparse fetches it from a URL."""
    return not is_inline(source) and "://" in source


def is_inline(source: str) -> bool:
    """Whether it is the text of a config, not a path."""
    return source.lstrip().startswith("{")


def where(source: str, line: int | None = None) -> str:
    """How errors name a config."""
    if is_inline(source):
        return "the config given"
    return f"config {source}" if line is None else f"config {source}, line {line}"


@functools.lru_cache(maxsize=8)
def parsed(text: str, where: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """The content of a config, and the line of each of its keys.

    Args:
        text: YAML or JSON.
        where: The beginning of errors.

    Returns:
        Both, kept for the next call: not to be changed.

    Raises:
        UsageError: See ``read_config``.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise UsageError(f"{where} is empty")
        if not isinstance(node, yaml.MappingNode):
            raise UsageError(f"{where} must map keys to values, such as trainer: {{max_epochs: 5}}")
        _measure(node, where, {}, 0)
        return loader.construct_document(node), dict(_lines(node, ()))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # a character, a date or a number that cannot be
        raise UsageError(f"{where} is not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise UsageError(f"{where} has more than {MAX_DEPTH} levels") from error


def _text(source: str) -> str:
    if is_inline(source):
        return source
    path = Path(source)
    if source and path.is_dir():
        raise UsageError(f"config {source} is a folder, not a file")
    if not source or not path.is_file():
        raise UsageError(f"no config file {source or repr(source)}")
    if path.stat().st_size > MAX_BYTES:
        raise UsageError(f"config {source} has {path.stat().st_size / 1e6:.0f} MB; at most 10 MB are read")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"config {source} is not text in UTF-8: {error.reason} at byte {error.start}") from error


def _measure(node: yaml.Node, where: str, sizes: dict[int, int], depth: int) -> int:
    """The number of values below a node; each alias counts as what it stands for.

    Args:
        node: The node.
        where: The beginning of errors.
        sizes: Of the nodes that were measured before; 0 while a node is being measured.
        depth: Levels above the node.
    """
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise UsageError(f"{where}, line {_line(node)}: an alias contains itself")
        return sizes[id(node)]
    if depth > MAX_DEPTH:
        raise UsageError(f"{where} has more than {MAX_DEPTH} levels")
    sizes[id(node)] = 0
    children = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise UsageError(f"{where}, line {_line(key)}: {key.value} is on line {seen[key.value]} already")
            seen[key.value] = _line(key)
        children = [part for pair in node.value for part in pair]
    size = 1 + sum(_measure(child, where, sizes, depth + 1) for child in children)
    if size > MAX_VALUES:
        raise UsageError(f"{where} has more than {MAX_VALUES} values once its aliases are expanded")
    sizes[id(node)] = size
    return size


def _lines(node: yaml.Node, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*above, str(key.value))
            yield path, _line(key)
            yield from _lines(value, path)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def require_parts(config: Mapping[str, Any], source: str) -> None:
    """Refuse a part of a config, such as ``trainer``, that is neither a mapping nor the name of a class.

    Raises:
        UsageError: Names the line.
    """
    for part, others in {"trainer": (), "model": (str,), "data": (str,)}.items():
        if part in config and not isinstance(config[part], (Mapping, *others)):
            kinds = "keys to values" if not others else "keys to values, or name a plugin"
            raise UsageError(f"{where(source, key_lines(source).get((part,)))}: {part} must map {kinds}")
