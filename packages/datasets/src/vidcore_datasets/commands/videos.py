"""Arguments of commands that take videos: paths, or a data set by name."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vidcore.cli import names, options
from vidcore.cli.parsing import Parser
from vidcore.errors import UsageError
from vidcore.files import expand_paths

if TYPE_CHECKING:
    from vidcore.datamodule import Split, VideoDataModule
    from vidcore.reading.index import SampleIndex

SPLITS: tuple[Split, ...] = ("train", "val", "test")

DATA_OPTIONS = """
instead of paths, a data set:
  --data NAME           an installed one, with its own options: --data.root clips/ …
  -c, --config FILE     a config file with a data part
"""


class DataParser(Parser):
    """Parser of a command that takes videos: by path, or those of a data set."""

    def __init__(self, command: str, description: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(command, description, epilog=DATA_OPTIONS, formatter_class=formatter)
        self.add_argument("paths", nargs="*", metavar="PATH", help="files, folders (also of frames) or glob patterns")

    def options(self) -> list[str]:
        """Return all long options, including those of the data set."""
        return [*super().options(), "--data", "--config"]

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse and check the arguments without torch; those of the data set are stored in ``data_arguments``.

        Raises:
            UsageError: Neither paths nor a data set are given, or both.
            PluginError: The data set is not installed.
        """
        own, data = split_arguments(argv)
        if any(argument.startswith("--data.help") for argument in data):
            load_data(data)  # prints the help and exits
        arguments = self.parse_args(own)
        arguments.data_arguments = data
        if bool(data) == bool(arguments.paths):
            raise UsageError(f"{self.prog} requires PATHs or --data NAME; installed: {names.installed('data')}")
        if data:
            command = self.prog.removeprefix("vid ")
            options.check(command, data, names.chosen(command, data))
        return arguments


def videos(arguments: argparse.Namespace) -> tuple[dict[str, str], VideoDataModule | None, Mapping[str, SampleIndex]]:
    """Return the videos that the arguments select, each with its first split, and the data set if given.

    Returns:
        Path to split (empty for paths); the data module; its samples by split, without empty splits.

    Raises:
        UserError: There are no videos, or an option of the data set is invalid.
    """
    if not arguments.data_arguments:
        return dict.fromkeys(expand_paths(arguments.paths, frames=True), ""), None, {}

    from vidcore.reading.index import SampleIndex

    data = load_data(arguments.data_arguments)
    data.prepare_data()
    indices = {split: SampleIndex.of(data.samples(split)) for split in SPLITS}
    samples = {str(split): index for split, index in indices.items() if index}
    found: dict[str, str] = {}
    for split, part in samples.items():
        for path in part.paths:
            found.setdefault(path, split)
    if not found:
        raise UsageError(f"{type(data).__name__} has no samples")
    return found, data, samples


def load_data(arguments: Sequence[str]) -> VideoDataModule:
    """Create the data module of ``--data`` and ``--config``."""
    from vidcore.cli.parser import VidParser
    from vidcore.datamodule import VideoDataModule

    parser = VidParser()
    parser.add_argument("-c", "--config", action="config")
    parser.add_subclass_arguments(VideoDataModule, "data", required=True)
    with options.full_names(names.chosen("", arguments), arguments):
        return parser.instantiate_classes(parser.parse_args(names.part_only("data", arguments))).data


def split_arguments(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into the command's own and those of the data set, with their values; names are expanded."""
    own: list[str] = []
    data: list[str] = []
    given = iter(names.expand_arguments(argv))
    for argument in given:
        key, equals, _ = argument.partition("=")
        if key in ("--data", "-c", "--config") or key.startswith("--data."):
            data.append(argument)
            if not equals:
                data.extend(value for value in [next(given, None)] if value is not None)
        else:
            own.append(argument)
    return own, data
