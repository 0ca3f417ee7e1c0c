"""Many cameras with one MoViNet: milliseconds per frame and camera, one by one and batched; memory over many frames.

    python benchmarks/movinet_cameras.py --variant a0 --cameras 64

Float32, eager, two threads. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from vidcore.flops.measure import peak_memory_mb
from vidcore_movinet import VARIANTS, MoViNet

THREADS, RUNS, FRAMES = 2, 5, 10_000


def median_ms(step: Callable[[], object]) -> float:
    """Return the median time of a step."""
    step()
    seconds = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return 1000 * statistics.median(seconds)


@torch.inference_mode()
def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="a0", choices=VARIANTS)
    parser.add_argument("--cameras", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    net, size = MoViNet(arguments.variant, stream=True).eval(), VARIANTS[arguments.variant].size

    print("| cameras a batch | ms a frame and camera | state MB |\n| ---: | ---: | ---: |")
    for rows in (1, 4, 16, arguments.cameras):
        state = net.init_state(rows, (size, size))
        frames = torch.rand(rows, 3, 1, size, size)
        ms = median_ms(lambda: net.step(frames, state)) / rows  # noqa: B023
        megabytes = sum(tensor.nbytes for tensor in state.values()) / 1e6
        print(f"| {rows} | {ms:.2f} | {megabytes:.1f} |", flush=True)

    print("\n| frames | peak memory MB |\n| ---: | ---: |")
    state = net.init_state(1, (size, size))
    frame = torch.rand(1, 3, 1, size, size)
    for number in range(1, FRAMES + 1):
        _, state = net.step(frame, state)
        if number in (100, FRAMES // 2, FRAMES):
            print(f"| {number} | {peak_memory_mb(frame.device):.1f} |", flush=True)


if __name__ == "__main__":
    main()
