"""``vid predict``: one row a video, as JSON Lines."""

from __future__ import annotations

import argparse
import glob
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from vidcore.cli import UsageError
from vidcore.files import VIDEO_ENDINGS

if TYPE_CHECKING:
    from vidcore.module import VideoModule


def main(command: str, argv: list[str]) -> int:
    """Prints or writes the rows; exit status 1 where a video could not be read."""
    parser = argparse.ArgumentParser(prog=f"vid {command}", description="Predict on video files, one row each.")
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="files, folders or glob patterns")
    parser.add_argument("--ckpt_path", required=True, help="a checkpoint that vid fit wrote")
    parser.add_argument("--output", help="JSON Lines file to write; default: print")
    parser.add_argument("--render", metavar="DIR", help="folder for mp4 files of the clips as the model saw them")
    parser.add_argument("--views", type=int, default=1, help="clips a video, spread over time and averaged")
    parser.add_argument("--batch_size", type=int, default=1, help="videos a step")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that decode")
    parser.add_argument("--accelerator", default="auto", help="as of Lightning's trainer: auto, cpu, gpu …")
    arguments = parser.parse_args(argv)
    if not Path(arguments.ckpt_path).is_file():
        raise UsageError(f"no checkpoint at {arguments.ckpt_path}")
    paths = expand(arguments.videos)

    from vidcore.checkpoint import load_module

    module = load_module(arguments.ckpt_path)
    if arguments.output is None:
        return predict(module, paths, sys.stdout, arguments)
    Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
    with Path(arguments.output).open("w", encoding="utf-8") as file:
        return predict(module, paths, file, arguments)


def expand(arguments: list[str]) -> list[str]:
    """Files as they are, the videos below folders, and what glob patterns match, in order and without repeats.

    Raises:
        UsageError: An argument that stands for nothing.
    """
    paths: list[str] = []
    for argument in arguments:
        if Path(argument).is_dir():
            below = sorted(Path(argument).rglob("*"))
            found = [str(path) for path in below if path.suffix.lower() in VIDEO_ENDINGS and path.is_file()]
            if not found:
                raise UsageError(f"no video below {argument}; known endings: {' '.join(sorted(VIDEO_ENDINGS))}")
        elif Path(argument).is_file():
            found = [argument]
        else:
            found = sorted(path for path in glob.glob(argument, recursive=True) if Path(path).is_file())
            if not found:
                raise UsageError(f"no file {argument}")
        paths += found
    return list(dict.fromkeys(paths))


def predict(module: VideoModule, paths: list[str], file: TextIO, arguments: argparse.Namespace) -> int:
    """Writes a row as soon as a video is done."""
    import logging

    from lightning.pytorch import Callback, Trainer

    from vidcore.batch import Batch
    from vidcore.datamodule import Sample, VideoDataModule

    class Paths(VideoDataModule):
        def samples(self, split: str) -> list[Sample]:
            return [Sample(path) for path in paths]

    failed: list[str] = []

    class Write(Callback):
        def on_predict_batch_end(
            self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            for row in outputs:
                trace = row.pop("trace", {})
                if "error" in row:
                    failed.append(row["path"])
                elif arguments.render:
                    row["rendered"] = str(render(module, row, trace, batch, Path(arguments.render)))
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    trainer = Trainer(
        accelerator=arguments.accelerator,
        devices=1,
        logger=False,
        callbacks=[Write()],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    data = Paths(batch_size=arguments.batch_size, num_workers=arguments.num_workers, views=arguments.views)
    trainer.predict(module, data, return_predictions=False)
    if failed:
        print(f"vid: {len(failed)} of {len(paths)} videos could not be read", file=sys.stderr)
    return 1 if failed else 0


def render(module: VideoModule, row: dict[str, Any], trace: dict[str, Any], batch: Any, folder: Path) -> Path:
    """Writes the first view of a video as the model saw it, with the prediction and the trace drawn in."""
    import torch

    from vidcore.video.encode import write_video
    from vidcore.video.render import draw

    spec = module.clip_spec
    clip = batch["inputs"]["rgb"][batch["ids"].index(row["path"])].cpu()
    mean, std = (torch.tensor(value).reshape(3, 1, 1, 1) for value in (spec.mean, spec.std))
    frames = ((clip * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).transpose(0, 1)
    lines = [f"{best['class']}  {best['score']:.2f}" for best in row.get("top", [])[:2]]
    lines.append(f"{row['gmacs']:.3f} GMACs")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Path(row['path']).stem}.mp4"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{Path(row['path']).stem}_{number}.mp4"
    write_video(path, draw(frames, lines, trace), fps=spec.fps or 8)
    return path
