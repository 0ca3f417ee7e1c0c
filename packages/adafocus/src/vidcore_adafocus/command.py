"""``vid exits``: thresholds for early exit, found on validation videos, and what they give on test videos."""

from __future__ import annotations

import json
from pathlib import Path

from vidcore.cli import UsageError, train
from vidcore.cli.parsing import Parser


def main(command: str, argv: list[str]) -> int:
    """Runs ``vid test`` on a checkpoint and adds a table: a row a budget."""
    parser = Parser(
        command,
        "Find thresholds on validation videos with which a video costs so many GMACs on average, and test them.",
        epilog="All other options are those of vid test.",
    )
    parser.add_argument("--ckpt_path", metavar="FILE", required=True, help="of an AdaFocus model")
    parser.add_argument(
        "--budgets", metavar="GMACS", help="a video, one or more with commas; default: each number of frames"
    )
    parser.add_argument("--by", default="max_softmax", help="max_softmax, margin or entropy; skip: frames left out")
    parser.add_argument("--output", metavar="FILE.json", help="where to write the rows too")
    parser.add_argument("--save", metavar="FILE.ckpt", help="a checkpoint that exits by the only budget's thresholds")
    own, others = parser.parse_known_args(argv)
    try:
        budgets = [float(budget) for budget in own.budgets.split(",")] if own.budgets else []
    except ValueError as error:
        raise UsageError(f"--budgets {own.budgets} are no numbers with commas between them") from error
    if own.save and len(budgets) != 1:
        raise UsageError(f"--save needs one budget, not {len(budgets)}")
    if own.save and Path(own.save).resolve() == Path(own.ckpt_path).resolve():
        raise UsageError(f"--save {own.save} is the checkpoint itself: name another file")
    options = {"budgets": budgets, "by": own.by, "output": own.output, "source": own.ckpt_path, "save": own.save}
    callback = {"class_path": "vidcore_adafocus.sweep.ExitSweep", "init_args": options}
    arguments = ["--ckpt_path", own.ckpt_path, *others, f"--trainer.callbacks+={json.dumps(callback)}"]
    return train.main("test", arguments, whole=False)  # thresholds need validation videos that are not tested
