"""``vid stream``: a line of JSON for each picture of a file, a camera or a URL."""

from __future__ import annotations

import argparse
import math
import signal
import statistics
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcore.classes import shown
from vidcore.cli.parsing import ModelParser, load_model, number_in, whole_in
from vidcore.errors import UsageError, UserError
from vidcore.text import to_json

if TYPE_CHECKING:
    from torch import Tensor

    from vidcore_deploy.decisions import Stepping
    from vidcore_deploy.sources import Picture


def main(command: str, argv: list[str]) -> int:
    """Prints the lines; the last one, on stderr, sums up."""
    seconds = number_in("[0, 1000000]")
    parser = ModelParser(command, "Decide frame by frame, one line of JSON a decision.")
    parser.add_argument("source", metavar="SOURCE", help="a file, the number of a camera, or a URL: rtsp://, http:// …")
    parser.add_argument("--engine", metavar="FILE", help="what vid export --step wrote, in place of a model")
    parser.add_argument("--smooth", type=seconds, default=0.0, metavar="SECONDS", help="average scores over this time")
    parser.add_argument("--reset", type=seconds, default=math.inf, metavar="SECONDS", help="forget all, so often")
    parser.add_argument(
        "--render", metavar="FILE|window", help="a video of what was seen and said, .mp4, or shown at once"
    )
    parser.add_argument(
        "--timeout", type=number_in("(0, 1000000]"), default=10.0, metavar="SECONDS", help="without a picture, at most"
    )
    parser.add_argument(
        "--reconnect", type=whole_in("[0, 1000000]"), default=5, metavar="N", help="attempts in a row, for URLs"
    )
    arguments = _parse(parser, argv)
    if "://" not in arguments.source and not arguments.source.isdigit() and not Path(arguments.source).is_file():
        raise UsageError(f"no file {arguments.source}")
    if arguments.render == "window":
        from vidcore_deploy.window import require_player

        require_player()
    elif arguments.render is not None and Path(arguments.render).suffix != ".mp4":
        raise UsageError(f"--render {arguments.render} must end in .mp4, or be window")
    if arguments.render is not None and Path(arguments.render).resolve() == Path(arguments.source).resolve():
        raise UsageError(f"--render {arguments.render} is the source itself")
    model = _model(arguments)

    from vidcore_deploy.decisions import decisions
    from vidcore_deploy.sources import pictures

    shown = _Shown()
    source = pictures(arguments.source, model.clip_spec, arguments.timeout, arguments.reconnect)
    rows = shown.lines(decisions(model, source, arguments.smooth, arguments.reset))
    handlers = {number: signal.signal(number, shown.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if arguments.render is None:
            for _ in rows:
                pass
        else:
            try:
                _render(arguments.render, rows, model)
            except ValueError as error:
                if shown.failure is None and not shown.interrupted:
                    raise UserError(f"{arguments.render} is not written: {error}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        shown.sum_up()
    if shown.failure is not None:
        raise shown.failure
    return 130 if shown.interrupted else 0


def _parse(parser: ModelParser, argv: list[str]) -> argparse.Namespace:
    """An engine takes the place of the model that other commands insist on."""
    if any(argument.partition("=")[0] == "--engine" for argument in argv):
        arguments = parser.parse_args(argv)
        if arguments.ckpt_path or arguments.weights or arguments.classes:
            raise UsageError("--engine holds model, weights and classes: leave out the others")
        return arguments
    return parser.parse(argv)


def _model(arguments: argparse.Namespace) -> Stepping:
    from vidcore_deploy.step import Step, open_engine

    return (
        open_engine(arguments.engine) if arguments.engine else Step(load_model(arguments, trained=True).for_inference())
    )


class _Shown:
    """Prints rows as they come, and knows what was printed."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.dropped = 0
        self.interrupted = self.drawing = False
        self.failure: Exception | None = None

    def lines(self, decided: Iterable[tuple[dict[str, Any], Picture]]) -> Iterator[tuple[dict[str, Any], Picture]]:
        """Passes on what it prints; Ctrl-C and errors end it as the source's end does: a rendered video is whole."""
        try:
            for row, picture in decided:
                print(to_json(row, ensure_ascii=False), flush=True)
                self.dropped = row["dropped"]
                self.ms = [*self.ms[-999:], row["ms"]]
                self.count = row["frame"] + 1
                self.drawing = True
                yield row, picture
                self.drawing = False
                if self.interrupted:
                    return
        except KeyboardInterrupt:
            self.interrupted = True
        except (UserError, OSError) as error:
            self.failure = error

    def stop(self, *_: object) -> None:
        """Handles a signal: the picture in the encoder is finished first."""
        self.interrupted = True
        if not self.drawing:
            raise KeyboardInterrupt

    def sum_up(self) -> None:
        """How many, how fast."""
        if self.ms:
            median = statistics.median(self.ms)
            text = f"{self.count} decisions, {self.dropped} pictures dropped, {median:.1f} ms a step (median)"
            print(f"vid: {text}", file=sys.stderr)


def _render(target: str, rows: Iterable[tuple[dict[str, Any], Picture]], model: Stepping) -> None:
    from vidcore.video.encode import write_video
    from vidcore.video.render import boxes_in, draw

    def drawn() -> Iterator[Tensor]:
        for row, picture in rows:
            best = row["top"][0] if "top" in row else None
            trace = {"boxes": [boxes_in(row["detections"], row["frame"])]} if "detections" in row else None
            # Two lines, whatever the class is called: all frames of a video have one size.
            answer = f"{len(row['detections'])} boxes" if best is None else shown(best["class"])
            score = "" if best is None else f"{best['score']:.2f}  "
            lines = [answer, f"{score}at {row['time']:.1f} s  {row['ms']:.1f} ms"]
            yield draw(picture.frame[None], lines, trace)[0]

    if target == "window":
        from vidcore_deploy.window import show

        return show(drawn(), "vid stream")
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    spec = model.clip_spec
    write_video(Path(target), drawn(), spec.fps or 25 / spec.stride)
