"""MoViNet on a GPU: clips per second of the base networks and frames per second of the stream networks, A0 to A5.

    python benchmarks/movinet_gpu.py [--variants a0 a2] [--minutes 3]

Networks are folded, as for deployment. Each variant has its own process; they compile in parallel and are timed in
turns. Measurements that are not finished after the given minutes are omitted. A stream's step is a CUDA graph. The
memory bound is the time in which the GPU, at its measured copy bandwidth, reads the input and the weights of every
convolution and linear layer and writes the output, once, in bfloat16, with everything between them fused. Prints
Markdown tables.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import queue
import statistics
import time
from collections.abc import Callable
from math import inf
from multiprocessing.synchronize import Lock

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from vidcore.nn import ConvNorm
from vidcore.streaming import State
from vidcore_movinet import VARIANTS, MoViNet
from vidcore_movinet.stream import CausalConvNorm, ImageConvNorm

CLIPS = {"t0": 32, "a0": 32, "a1": 32, "a2": 16, "a3": 8, "a4": 8, "a5": 4}
"""Clips per batch."""
STREAMS = (1, 64)
WAYS = ("float32", "bfloat16", "bfloat16, channels last", "compiled")
"""Variants; compiled ones also use bfloat16 and channels-last format."""


def seconds(run: Callable[[], object], runs: int = 10) -> float:
    """Return the median time of a run on the GPU; fewer repeats for slow runs."""
    times: list[float] = []
    while len(times) < runs + 2 and sum(times) < 1:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return statistics.median(times[2:] or times[-1:])


def bandwidth() -> float:
    """Return the GPU's copy bandwidth in bytes per second, reads plus writes."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * len(source) / seconds(lambda: target.copy_(source))


def moved(net: nn.Module, clips: Tensor) -> int:
    """Return the bytes read and written by the weighted layers, each tensor once, in bfloat16."""
    total = 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal total
        tensors = [leaf for leaf in tree_leaves((inputs, output)) if isinstance(leaf, Tensor)]
        total += 2 * sum(tensor.numel() for tensor in (*tensors, *module.parameters()))

    kinds = (ConvNorm, ImageConvNorm, CausalConvNorm, nn.Linear)
    hooks = [module.register_forward_hook(count) for module in net.modules() if isinstance(module, kinds)]
    net(clips)
    for hook in hooks:
        hook.remove()
    return total


def base(variant: str, way: str) -> tuple[Callable[[], object], int]:
    """Return a function that runs a batch of clips, and its minimum memory traffic in bytes."""
    spec = VARIANTS[variant]
    layout = torch.channels_last_3d if way in WAYS[2:] else torch.contiguous_format
    dtype = torch.float32 if way == "float32" else torch.bfloat16
    whole = MoViNet(variant).eval()
    net = whole.folded().to("cuda", dtype).to(memory_format=layout)  # type: ignore[call-overload]
    clips = torch.rand(CLIPS[variant], 3, spec.frames, spec.size, spec.size, device="cuda")
    clips = clips.to(dtype=dtype, memory_format=layout)
    size = moved(whole.to("cuda", dtype), clips) if way == "bfloat16" else 0
    run = torch.compile(net, dynamic=False) if way == "compiled" else net
    return lambda: run(clips), size


def stream(variant: str, rows: int, way: str) -> tuple[Callable[[], object], int]:
    """Return a function that runs one frame of several streams, and its minimum memory traffic in bytes."""
    spec = VARIANTS[variant]
    dtype = torch.float32 if way == "float32" else torch.bfloat16
    whole = MoViNet(variant, stream=True).eval()
    net = whole.folded().to("cuda", dtype)
    frames = torch.rand(rows, 3, 1, spec.size, spec.size, device="cuda", dtype=dtype)
    state = net.init_state(rows, (spec.size, spec.size))
    size = moved(whole.to("cuda", dtype), frames) if way == "bfloat16" else 0

    def advance(frames: Tensor, state: State) -> tuple[Tensor, State]:
        logits, after = net.step(frames, state)
        return logits, {name: value.clone() for name, value in after.items()}

    step = torch.compile(advance, dynamic=False) if way == "compiled" else advance

    def once() -> None:
        _, after = step(frames, state)
        for name, value in after.items():
            state[name].copy_(value)

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            once()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        once()
    return graph.replay, size


def measure(variant: str, turn: Lock, results: multiprocessing.Queue) -> None:
    """Time a variant, starting with uncompiled runs."""
    networks = (0, *reversed(STREAMS))
    with torch.inference_mode():
        fastest = bandwidth()
        for way, rows in itertools.product(WAYS, networks):
            if rows and way == "bfloat16, channels last":  # stream networks always use it
                continue
            run, size = stream(variant, rows, way) if rows else base(variant, way)
            run()
            torch.cuda.synchronize()
            with turn:
                results.put((variant, rows, way, seconds(run), size / fastest))
            del run
            torch.cuda.empty_cache()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["a0", "a1", "a2", "a3", "a4", "a5"], choices=VARIANTS)
    parser.add_argument("--minutes", type=float, default=30)
    arguments = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: copies {bandwidth() / 1e12:.2f} TB/s\n")
    torch.cuda.empty_cache()
    context = multiprocessing.get_context("spawn")
    turn, results = context.Lock(), context.Queue()
    processes = [context.Process(target=measure, args=(name, turn, results)) for name in arguments.variants]
    for process in processes:
        process.start()
    end = time.monotonic() + 60 * arguments.minutes
    times, limits = {}, {}
    while time.monotonic() < end and (any(process.is_alive() for process in processes) or not results.empty()):
        with contextlib.suppress(queue.Empty):
            variant, rows, way, spent, limit = results.get(timeout=1)
            times[variant, rows, way] = spent
            if limit:
                limits[variant, rows] = limit
    for process in processes:
        process.kill()

    def cell(count: float, key: tuple[str, int, str]) -> str:
        return f" {count / times[key]:,.0f} |" if key in times else " |"

    print("| variant | batch |" + "".join(f" {way} |" for way in WAYS) + " best, frames/s | best / memory limit |")
    print("| --- |" + " ---: |" * (len(WAYS) + 3))
    for variant in arguments.variants:
        cells = "".join(cell(CLIPS[variant], (variant, 0, way)) for way in WAYS)
        best = min((found for (name, rows, _), found in times.items() if (name, rows) == (variant, 0)), default=inf)
        frames = CLIPS[variant] / best * VARIANTS[variant].frames
        print(f"| {variant} | {CLIPS[variant]} |{cells} {frames:,.0f} | {best / limits.get((variant, 0), inf):.1f} |")
    print("\n| variant | streams | float32 | bfloat16 | compiled | best, ms a step | best / memory limit |")
    print("| --- |" + " ---: |" * 6)
    for variant, rows in itertools.product(arguments.variants, STREAMS):
        cells = "".join(cell(rows, (variant, rows, way)) for way in WAYS if way != "bfloat16, channels last")
        best = min(
            (found for (name, number, _), found in times.items() if (name, number) == (variant, rows)), default=inf
        )
        print(f"| {variant} | {rows} |{cells} {1000 * best:.3f} | {best / limits.get((variant, rows), inf):.1f} |")


if __name__ == "__main__":
    main()
