"""Cost of a training step of 3D ResNet-RS-50, compared with reference networks at equal input.

    pip install pytorchvideo
    python benchmarks/resnet_rs_cost.py --batch 12

For times, all networks alternate in one process: forward, backward and SGD step. Peak memory is measured in a separate
process each, minus the memory before the network was built. The references run as usual, in eager mode and float32.
Prints a Markdown table; GMACs are those of the forward pass.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from vidcore_resnet_rs import ResNetRS3D

FRAMES, SIZE, CLASSES = 16, 112, 400


def r3d_18() -> nn.Module:
    from torchvision.models.video import r3d_18

    return r3d_18(num_classes=CLASSES)


def slow_r50() -> nn.Module:
    from pytorchvideo.models.resnet import create_resnet

    return create_resnet(model_num_class=CLASSES, head_pool_kernel_size=(FRAMES, SIZE // 32, SIZE // 32))


def ours(compiled: bool = False, checkpointing: bool = False) -> nn.Module:
    net = ResNetRS3D(50, CLASSES, checkpointing=checkpointing)
    if compiled:
        net.compile_bottlenecks()
    return net


NETWORKS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "torchvision r3d_18": (r3d_18, False),
    "pytorchvideo slow_r50": (slow_r50, False),
    "ResNet-RS-50": (ours, False),
    "ResNet-RS-50, bfloat16": (ours, True),
    "ResNet-RS-50, compiled": (functools.partial(ours, compiled=True), False),
    "ResNet-RS-50, compiled, bfloat16": (functools.partial(ours, compiled=True), True),
    "ResNet-RS-50, checkpointing": (functools.partial(ours, checkpointing=True), False),
    "ResNet-RS-50, checkpointing, bfloat16": (functools.partial(ours, checkpointing=True), True),
}
"""Networks, and whether they run in bfloat16."""


def stepper(name: str, device: torch.device, rows: int) -> Callable[[], None]:
    """Return a function that runs a training step of a new network."""
    build, mixed = NETWORKS[name]
    net = build().to(device).train()
    if device.type == "cuda":
        net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    clips, target = batch(device, rows)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            logits = net(clips)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), target).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def batch(device: torch.device, rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand(rows, 3, FRAMES, SIZE, SIZE, generator=generator)
    return clips.to(device), torch.randint(CLASSES, (rows,), generator=generator).to(device)


def gmacs(name: str) -> float:
    """Return the GMACs of one clip."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        NETWORKS[name][0]().eval()(torch.empty(1, 3, FRAMES, SIZE, SIZE))
    return counter.get_total_flops() / 2e9


def peak(name: str, device: torch.device, rows: int) -> float:
    """Return the peak memory of two steps in MB, minus the memory before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = stepper(name, device, rows)
    for _ in range(2):
        step()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch", type=int, default=12)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} cores"
    # Measure memory first, while this process is small: a child's peak starts at its parent's.
    memory = {}
    for name in NETWORKS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            memory[name] = pool.apply(peak, (name, device, arguments.batch))
    steps = {name: stepper(name, device, arguments.batch) for name in NETWORKS}
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for _ in range(arguments.turns):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    costs = {name: gmacs(name.partition(",")[0]) for name in NETWORKS}
    print(f"{machine}, batch of {arguments.batch} clips of {FRAMES} × {SIZE}²; median and quartiles\n")
    print("| network | GMACs a clip | steps/s | speed per GMAC / r3d_18 | / slow_r50 | peak MB |")
    print("| --- | ---: | ---: | --- | --- | ---: |")
    for name, times in seconds.items():
        cells = []
        for reference in ("torchvision r3d_18", "pytorchvideo slow_r50"):
            share = costs[name] / costs[reference]
            low, middle, high = statistics.quantiles(
                [share * theirs / own for own, theirs in zip(times, seconds[reference], strict=True)], n=4
            )
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        print(
            f"| {name} | {costs[name]:.2f} | {1 / statistics.median(times):.3f} | {' | '.join(cells)} "
            f"| {memory[name]:,.0f} |"
        )


if __name__ == "__main__":
    main()
