"""``vid exits``: thresholds for early exit, found on validation videos, and what they give on test videos."""

from __future__ import annotations

import json
from pathlib import Path

from vidcore.cli import train
from vidcore.cli.parsing import Parser, number_in
from vidcore.errors import UsageError


def main(command: str, argv: list[str]) -> int:
    """Runs ``vid test`` on a checkpoint and adds a table: a row a budget."""
    parser = Parser(
        command,
        "Find thresholds on validation videos with which a video costs so many GMACs on average, and test them.",
        epilog="All other options are those of vid test.",
    )
    parser.add_argument("--ckpt_path", metavar="FILE", required=True, help="of an AdaFocus model")
    parser.add_argument(
        "--budgets",
        metavar="GMACS",
        type=_budgets,
        default=[],
        help="a video, one or more with commas; default: each number of frames",
    )
    parser.add_argument(
        "--by",
        choices=("max_softmax", "margin", "entropy", "skip"),
        default="max_softmax",
        help="measure of confidence; skip: frames left out; default: max_softmax",
    )
    parser.add_argument("--output", metavar="FILE.json", help="where to write the rows too")
    parser.add_argument("--save", metavar="FILE.ckpt", help="a checkpoint that exits by the only budget's thresholds")
    own, others = parser.parse_known_args(argv)
    if own.save and len(own.budgets) != 1:
        raise UsageError(f"--save needs one budget, not {len(own.budgets)}")
    if own.save and Path(own.save).resolve() == Path(own.ckpt_path).resolve():
        raise UsageError(f"--save {own.save} is the checkpoint itself: name another file")
    options = {"budgets": own.budgets, "by": own.by, "output": own.output, "source": own.ckpt_path, "save": own.save}
    callback = {"class_path": "vidcore_adafocus.sweep.ExitSweep", "init_args": options}
    arguments = ["--ckpt_path", own.ckpt_path, *others, f"--trainer.callbacks+={json.dumps(callback)}"]
    return train.main("test", arguments, whole=False)  # thresholds need validation videos that are not tested


def _budgets(text: str) -> list[float]:
    return [number_in("(0, inf)")(part) for part in text.split(",")]
