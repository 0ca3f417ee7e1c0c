"""The ``vid`` command. Nothing here imports torch: that is left to the commands that compute."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Sequence

from vidcore import __version__, plugins
from vidcore.errors import UserError

COMMANDS = {
    "fit": ("vidcore.cli.train", "train a model on a data set"),
    "validate": ("vidcore.cli.train", "evaluate on the validation split"),
    "test": ("vidcore.cli.train", "evaluate on the test split, with cost, time and memory"),
    "predict": ("vidcore.cli.predict", "predict on video files, one row each"),
    "list": ("vidcore.cli.listing", "show the installed models, data sets and commands"),
    "flops": ("vidcore.cli.flops", "count parameters and MACs of a model"),
}
"""Name to the module whose ``main(command, argv)`` runs it, and its line of help."""

DONE, FAILED, USAGE = 0, 1, 2


NOISE = (
    r".*overridden `on_after_batch_transfer` in `LightningModule`",  # on purpose: any data loader will do
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",
    r".*callbacks used to create the checkpoint need to be provided",
    r"The dirpath has changed from",
    r".*does not have many workers",
)
"""Beginnings of warnings of Lightning's that are not about anything the user did."""


class UsageError(UserError):
    """The command line itself is wrong."""


def usage() -> str:
    """The text of ``vid --help``."""
    rows = {name: text for name, (_, text) in COMMANDS.items()}
    rows |= {name: f"from {claims[0].distribution}" for name, claims in plugins.claims("vidcore.commands").items()}
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
            "vid COMMAND --help tells a command's options; vid --version prints the version.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``vid`` and returns its exit status: 0 done, 1 failed, 2 wrong usage."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_tips)
    try:
        if not argv or argv[0] in ("-h", "--help", "help"):
            print(usage())
            return DONE if argv else USAGE
        if argv[0] in ("-V", "--version"):
            print(f"vid {__version__}")
            return DONE
        return _command(argv[0])(argv[0], argv[1:]) or DONE
    except UserError as error:
        return _report(error)
    except KeyboardInterrupt:
        print("vid: interrupted", file=sys.stderr)
        return 130
    except SystemExit as stop:  # argparse and jsonargparse leave this way
        return stop.code if isinstance(stop.code, int) else FAILED
    except Exception as error:
        mistake = _user_error_behind(error)
        if mistake is None:
            raise
        return _report(mistake)


def _no_tips(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()


def _command(name: str) -> Callable[[str, list[str]], int | None]:
    if name in COMMANDS:
        return importlib.import_module(COMMANDS[name][0]).main
    if name in plugins.claims("vidcore.commands"):
        return plugins.load("vidcore.commands", name)
    raise UsageError(f"no command {name!r}; there are {', '.join([*COMMANDS, *plugins.names('vidcore.commands')])}")


def _report(error: UserError) -> int:
    print(f"vid: error: {error}", file=sys.stderr)
    return USAGE if isinstance(error, (UsageError, plugins.PluginError)) else FAILED


def _user_error_behind(error: BaseException) -> UserError | None:
    """The user's mistake that a library wrapped in an exception of its own."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, UserError):
        seen = seen.__cause__ or seen.__context__
    return seen
