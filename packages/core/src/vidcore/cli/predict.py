"""``vid predict``: one row a video, as JSON Lines or Parquet."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from vidcore.cli import DONE, FAILED, UsageError
from vidcore.cli.parsing import ModelParser, load_model, number_in, whole_in
from vidcore.files import expand_paths
from vidcore.predict.options import Options
from vidcore.predict.rows import Output


def main(command: str, argv: list[str]) -> int:
    """Prints or writes the rows; exit status 1 where a video could not be read."""
    whole = {name: whole_in(interval) for name, interval in Options.RANGES.items()}
    seconds = number_in(Options.RANGES["timeout"])
    parser = ModelParser(command, "Predict on video files, one row each.")
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="files, folders or glob patterns")
    parser.add_argument("--output", metavar="FILE", help=".jsonl or .parquet; goes on where it stopped; default: print")
    parser.add_argument("--render", metavar="DIR", help="folder for mp4 files of the clips as the model saw them")
    parser.add_argument("--views", type=whole["views"], default=1, help="clips a video, spread over time and averaged")
    parser.add_argument("--batch_size", type=whole["batch_size"], default=1, help="videos a step and process")
    parser.add_argument(
        "--num_workers", type=whole["num_workers"], default=0, help="further processes that decode, a process"
    )
    parser.add_argument("--timeout", type=seconds, default=60, help="seconds to read a video in, else it is an error")
    parser.add_argument(
        "--flow",
        metavar="METHOD",
        help="how optical flow is computed; default: as in training",
    )
    parser.add_argument("--accelerator", default="auto", help="as of Lightning's trainer: auto, cpu, gpu …")
    parser.add_argument("--devices", type=whole["devices"], default=1, help="processes that share the list, a node")
    parser.add_argument("--num_nodes", type=whole["num_nodes"], default=1, help="nodes, under torchrun or SLURM")
    arguments = parser.parse(argv)
    output = Output(arguments.output) if arguments.output is not None else None
    if output is None and arguments.devices * arguments.num_nodes > 1:
        raise UsageError("several processes need --output FILE to write to")
    paths, below = listed(arguments.videos, arguments.render)
    if below:
        print(f"vid: passed over {below} files below --render {arguments.render}", file=sys.stderr)
    model = load_model(arguments, trained=True)

    from vidcore.predict.predictor import predict

    options = Options(**{field.name: getattr(arguments, field.name) for field in fields(Options)})
    return FAILED if predict(model, paths, options, output) else DONE


def listed(videos: Sequence[str], render: str | os.PathLike[str] | None) -> tuple[list[str], int]:
    """Return the paths of the videos without those that an earlier run rendered, and the number of these.

    Args:
        videos: Files, folders or glob patterns.
        render: The folder of rendered videos, if any.

    Raises:
        UsageError: Nothing is found for one of ``videos``; ``render`` is a file, or the folder of all videos.
    """
    paths = expand_paths(videos, frames=True)
    if render is None:
        return paths, 0
    folder = Path(render).resolve()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--render {render} is not a folder")
    left = [path for path in paths if folder not in Path(path).resolve().parents]
    if not left:
        raise UsageError(f"--render {render} holds the videos: rendered videos need a folder of their own")
    return left, len(paths) - len(left)
