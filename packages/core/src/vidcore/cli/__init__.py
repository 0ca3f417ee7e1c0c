"""The ``vid`` command. Nothing here imports torch: that is left to the commands that compute."""

from __future__ import annotations

import difflib
import importlib
import io
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from vidcore import __version__, plugins
from vidcore.errors import OptionError, UsageError, UserError, causes
from vidcore.reading.workers import worker_error
from vidcore.redaction import redacted

COMMANDS = {
    "fit": ("vidcore.cli.train", "train a model on a data set"),
    "validate": ("vidcore.cli.train", "evaluate on the validation split"),
    "test": ("vidcore.cli.train", "evaluate on the test split, with cost, time and memory"),
    "predict": ("vidcore.cli.predict", "predict on video files, one row each"),
    "flops": ("vidcore.cli.flops", "count parameters and MACs of a model"),
    "weights": ("vidcore.cli.weights", "list a model's published weights; convert SOURCE TARGET: others' into ours"),
    "list": ("vidcore.cli.listing", "show the installed models, data sets and commands"),
    "plugins": ("vidcore.cli.plugin_states", "show version, origin and state of every plugin"),
    "plugin": ("vidcore.cli.new_plugin", "new NAME: write a plugin that works, with its tests"),
    "completion": ("vidcore.cli.completion", "print the completion script of a shell"),
}
"""Name to the module whose ``main(command, argv)`` runs it, and its line of help."""

PLUGINS = {
    "bench": "measure latency, throughput, memory, and executed against counted MACs",
    "data": "check, prepare, stats: broken files; re-encoding, shards; durations and balance",
    "exits": "find thresholds of early exits, and test them",
    "export": "write a model as ONNX or torch.export, checked against eager",
    "stream": "decide frame by frame on a file, a camera or a URL",
}
"""Line of help of each first-party command that a plugin brings."""

DONE, FAILED, USAGE = 0, 1, 2


NOISE = (
    r".*overridden `on_after_batch_transfer` in `LightningModule`",  # on purpose: any data loader will do
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",
    r".*callbacks used to create the checkpoint need to be provided",
    r"The dirpath has changed from",
    r".*does not have many workers",
    r"It is recommended to use `self.log\(.*sync_dist=True",  # torchmetrics and we have gathered the values already
    r"You're resuming from a checkpoint that ended before the epoch",  # our sampler goes on with the next batch
    r"You're using the WeightAveraging callback, but loading a checkpoint outside",
)
"""Beginnings of warnings of Lightning's that are not about anything the user did."""


def usage() -> str:
    """The text of ``vid --help``."""
    rows = {name: text for name, (_, text) in COMMANDS.items()}
    for name, claims in plugins.claims("vidcore.commands").items():
        source = claims[0].distribution
        ours = plugins.KNOWN["vidcore.commands"].get(name) == source
        rows[name] = PLUGINS[name] if ours else f"from {source}"
    width = max(map(len, rows))
    return "\n".join(
        [
            "usage: vid COMMAND [OPTIONS]",
            "",
            "Efficient video recognition: any model with any data, honest compute.",
            "",
            "commands:",
            *(f"  {name:{width}}  {text}" for name, text in rows.items()),
            "",
            "vid COMMAND --help tells a command's options; vid --version prints the version;",
            "--debug with any command shows the traceback of an error.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``vid`` and returns its exit status: 0 done, 1 failed, 2 wrong usage."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    argv = [argument for argument in argv if argument != "--debug"]
    _open_streams()
    try:
        status = _run(argv)
        sys.stdout.flush()  # here, where a full disk is still an error
        return status
    except UserError as error:
        return _report(_user_error_behind(error) or error, debug)
    except KeyboardInterrupt:
        print("vid: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        _drop_output()
        return FAILED
    except Exception as error:
        mistake = mistake_behind(error)
        if mistake is None:
            raise
        if isinstance(error, OSError):
            _drop_output()
        return _report(mistake, debug)


def _run(argv: list[str]) -> int:
    if argv[:1] == ["help"] and argv[1:]:
        argv = [argv[1], "--help"]
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return DONE if argv else USAGE
    if argv[0] in ("-V", "--version"):
        print(f"vid {__version__}")
        return DONE
    command = _command(argv[0])
    _warn_of_environment()
    try:
        with without_noise():
            return command(argv[0], argv[1:]) or DONE
    except SystemExit as stop:  # argparse and jsonargparse leave this way
        if type(stop).__name__ == "SIGTERMException":  # Lightning's, which is not imported here
            print("vid: terminated", file=sys.stderr)
            return 143
        return stop.code if isinstance(stop.code, int) else FAILED


def _open_streams() -> None:
    """Replace standard streams that are closed, and write characters that stdout cannot encode as escapes."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Let flushing at the end succeed."""
    with suppress(OSError, ValueError):  # a stream without a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def without_noise() -> Iterator[None]:
    """Hide ``NOISE``, and what Lightning tells of itself."""
    names = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")
    loggers = [logging.getLogger(name) for name in names]
    try:
        for logger in loggers:
            logger.addFilter(_worth_reading)
        with warnings.catch_warnings():
            for message in NOISE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(_worth_reading)


def mistake_behind(error: BaseException) -> UserError | None:
    """Return the user's or the system's error that ``error`` comes from; None if it is an error in the program."""
    return _user_error_behind(error) or _system_error_behind(error)


def _warn_of_environment() -> None:
    if any(name.startswith("VID_") and name != "VID_PLUGINS" for name in os.environ):
        from vidcore.cli import environment

        for warning in environment.unused():
            print(f"vid: warning: {warning}", file=sys.stderr)


_INFORMATION = re.compile(
    r"Seed set to|GPU available: False|TPU available: False|Loading `\w+` to estimate|Loaded model weights from|"
    r"Restor(ed all states|ing states) from the checkpoint|Tip:|💡"
)


def _worth_reading(record: logging.LogRecord) -> bool:
    return not _INFORMATION.match(record.getMessage())


def _command(name: str) -> Callable[[str, list[str]], int | None]:
    if name in COMMANDS:
        return importlib.import_module(COMMANDS[name][0]).main
    if name in plugins.claims("vidcore.commands"):
        return plugins.load("vidcore.commands", name)
    if name in plugins.KNOWN["vidcore.commands"]:
        plugins.find("vidcore.commands", name)  # whose error says what to install
    known = [*COMMANDS, *plugins.names("vidcore.commands")]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ";"
    raise UsageError(f"no command {name!r}{hint} there are {', '.join(known)}")


def _report(error: UserError, debug: bool) -> int:
    if debug:
        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr)
    print(f"vid: error: {error}", file=sys.stderr)
    return USAGE if isinstance(error, (UsageError, OptionError, plugins.PluginError)) else FAILED


def _user_error_behind(error: BaseException) -> UserError | None:
    """The user's mistake that a library wrapped in an exception of its own, or a worker process that was lost.

    Torch raises the latter from a signal handler, that is, anywhere, as in a block that takes it for another mistake.
    """
    found = [*map(worker_error, causes(error)), *(seen for seen in causes(error) if isinstance(seen, UserError))]
    return next((mistake for mistake in found if mistake is not None), None)


def _system_error_behind(error: BaseException) -> UserError | None:
    """What the system refused: no space left, no permission, a file that has gone."""
    for seen in causes(error):
        if isinstance(seen, (FileExistsError, NotADirectoryError)) and seen.filename:
            return UserError(f"{seen.filename}: it, or a folder above it, is a file")
        if isinstance(seen, OSError) and seen.strerror:
            return UserError(f"{seen.filename}: {seen.strerror}" if seen.filename else seen.strerror)
    return None
