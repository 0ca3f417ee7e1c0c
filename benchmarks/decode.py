"""Check that every backend returns the same frame at any index as sequential decoding of the whole file.

    python benchmarks/decode.py FOLDER

FOLDER contains videos and, optionally, ``manifest.csv`` with the columns ``file`` and ``frames``. Prints a Markdown
table and exits with 1 if a readable file differs.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from pathlib import Path

import av
import torch

from vidcore.video.decoder import VideoError, installed_backends, open_video


def sequential(path: Path) -> torch.Tensor | str:
    """Decode all packets in order with FFmpeg's scale filter, upright; return the frames or the error."""
    frames, turns = [], 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            graph = av.filter.Graph()
            source = graph.add_buffer(template=stream, time_base=stream.time_base)
            graph.link_nodes(
                source, graph.add("scale", "flags=bicubic"), graph.add("format", "rgb24"), graph.add("buffersink")
            ).configure()
            for frame in container.decode(stream):
                turns = round(frame.rotation / 90)
                graph.push(frame)
                frames.append(torch.from_numpy(graph.pull().to_ndarray()))
    except (av.FFmpegError, IndexError) as error:
        return "no video stream" if isinstance(error, IndexError) else error.strerror or str(error)
    return torch.rot90(torch.stack(frames), turns, (1, 2)).permute(0, 3, 1, 2)


def compare(path: Path, backend: str, truth: torch.Tensor) -> tuple[str, bool]:
    """Return the table's cell, and whether all frames are identical."""
    rng = random.Random(path.name)
    count = len(truth)
    edges = [0, count - 1, count // 2, max(0, count - 2), 0]
    worst = 0
    try:
        with open_video(path, backend) as video:
            if video.num_frames != count:
                return f"{video.num_frames} frames", False
            for _ in range(2):
                for indices in (edges, sorted(rng.choices(range(count), k=16)), rng.choices(range(count), k=8)):
                    got = video.frames(indices)
                    if got.shape != truth[indices].shape:
                        return f"shape {tuple(got.shape)}", False
                    worst = max(worst, int((got.int() - truth[indices].int()).abs().max()))
            by = "" if video.backend == backend else f" (by {video.backend})"
    except VideoError as error:
        return str(error).replace(str(path), "").strip(": "), False
    return (f"differs by {worst}" if worst else "identical") + by, not worst


def refusal(path: Path, backend: str) -> str:
    """Describe a backend's result for a file that sequential decoding cannot read to its end."""
    try:
        with open_video(path, backend) as video:
            count = video.num_frames
            video.frames([count - 1])
            return f"{count} frames"
    except VideoError as error:
        return "error: " + str(error).replace(str(path), "").strip(": ")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    listed = {}
    if (folder / "manifest.csv").exists():
        with open(folder / "manifest.csv", newline="") as file:
            listed = {row["file"]: row["frames"] for row in csv.DictReader(file)}
    backends = installed_backends()
    print("| file | listed | decoded | " + " | ".join(backends) + " |")
    print("|---|---|---|" + "---|" * len(backends))
    good = True
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.suffix not in {".csv", ".md", ".txt"}):
        truth = sequential(path)
        cells = []
        for backend in backends:
            if isinstance(truth, str):
                cells.append(refusal(path, backend))
            else:
                cell, same = compare(path, backend, truth)
                good &= same
                cells.append(cell)
        decoded = truth if isinstance(truth, str) else str(len(truth))
        print(f"| {path.name} | {listed.get(path.name, '')} | {decoded} | " + " | ".join(cells) + " |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
