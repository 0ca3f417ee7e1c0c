"""Check that damaged video files are read or refused, and never crash, hang or raise an unexpected error.

    python benchmarks/mutations.py shared/clips/*.mp4 --count 1000

Each mutation is a real file with a few bits flipped, a piece removed or blocks swapped, drawn from its own seed. It is
opened, some frames are decoded and the audio is read, in a child process with a time limit, so that a crash or hang is
a failure that names the file and the seed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

LIMIT = 60.0
"""Time limit per mutation in seconds."""


def mutate(content: bytes, seed: int) -> bytes:
    """Mutate a file: flip bits, truncate it, remove a piece, swap or overwrite blocks."""
    rng = np.random.default_rng(seed)
    data = np.frombuffer(content, np.uint8).copy()
    length = len(data)
    kind = seed % 5
    if kind == 0:
        for place in rng.integers(0, length, rng.integers(1, 64)):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        data = data[: int(rng.integers(0, length))]
    elif kind == 2:
        start, end = np.sort(rng.integers(0, length, 2))
        data = np.delete(data, slice(start, min(end, start + 4096)))
    elif kind == 3:
        size = int(rng.integers(1, max(2, length // 4)))
        first, second = np.sort(rng.integers(0, length - size, 2))
        if second >= first + size:
            data[first : first + size], data[second : second + size] = (
                data[second : second + size].copy(),
                data[first : first + size].copy(),
            )
    else:  # start or end, where containers store their tables
        for _ in range(rng.integers(1, 16)):
            place = int(rng.integers(0, min(4096, length)))
            place = place if rng.integers(2) else length - 1 - place
            data[place] = rng.integers(256)
    return data.tobytes()


def read(path: Path) -> str:
    """Read frames and audio as in training; return ``read``, or the reason of refusal."""
    from vidcore.video import NoAudioError, VideoError, open_video, read_audio

    try:
        with open_video(path) as video:
            count = video.num_frames
            frames = video.frames(np.linspace(0, count - 1, min(count, 4)).astype(int).tolist())
            assert frames.shape[2:] == video.size and len(video.times) == count
    except VideoError as error:
        return str(error).partition(": ")[2]
    try:
        read_audio(path, 16_000)
    except NoAudioError:
        pass
    except VideoError as error:
        return f"sound: {str(error).partition(': ')[2]}"
    return "read"


def serve(pipe: Connection, folder: str) -> None:
    """In the child process: mutate and read the requested files one by one."""
    import torch

    torch.set_num_threads(1)
    originals: dict[str, bytes] = {}
    while True:
        source, seed = pipe.recv()
        content = originals.setdefault(source, Path(source).read_bytes())
        path = Path(folder) / f"mutated{Path(source).suffix}"
        path.write_bytes(mutate(content, seed))
        try:
            pipe.send((True, read(path)))
        except Exception as error:  # any unexpected error is a finding
            pipe.send((False, f"{type(error).__name__}: {error}"))


class Reader:
    """Child process that reads files; replaced if it crashes or hangs."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self.folder), daemon=True)
        self.process.start()
        theirs.close()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()

    def read(self, source: Path, seed: int) -> tuple[bool, str]:
        """Return whether reading succeeded, and its result."""
        self.pipe.send((str(source), seed))
        try:
            if self.pipe.poll(LIMIT):
                return self.pipe.recv()
            outcome = f"no end after {LIMIT:g} s"
        except EOFError:
            self.process.join()
            outcome = f"the process died with {self.process.exitcode}"
        self.stop()
        self.start()
        return False, outcome


def examine(sources: list[Path], count: int) -> tuple[Counter[str], list[str]]:
    """Read ``count`` mutations of all files in turn; return the count of each outcome, and the failures."""
    outcomes: Counter[str] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(folder)
        for seed in range(count):
            source = sources[seed // 5 % len(sources)]
            good, outcome = reader.read(source, seed)
            outcomes[outcome if good else "FAILED"] += 1
            if not good:
                failures.append(f"{source} seed {seed}: {outcome}")
        reader.stop()
    return outcomes, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    start = time.perf_counter()
    outcomes, failures = examine(arguments.files, arguments.count)
    for outcome, number in outcomes.most_common():
        print(f"{number:6}  {outcome}")
    print(f"{arguments.count} mutations of {len(arguments.files)} files in {time.perf_counter() - start:.0f} s")
    for failure in failures:
        print(f"FAILED  {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
