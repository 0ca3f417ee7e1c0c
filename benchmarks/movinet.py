"""Inference time of MoViNet: per frame of the stream networks and per clip of the base networks, in several runtimes.

    python benchmarks/movinet.py --variants a0 a2 [--ways LiteRT] [--peers peers/bin/python movinet_peers.py]

Each runtime has its own process; they alternate, on two threads in float32. Times are medians over frames of the median
over rounds. "folded" is eager with folded normalisation, as in `vid stream`; "compiled" is the same, compiled. "LiteRT,
graph alone" does not copy the state between steps, as the peers are timed. The PyTorch port
(`pip install git+https://github.com/Atze00/MoViNet-pytorch`) is included if installed. ``--peers`` is a command that
takes ``--variant`` and ``--threads`` and prints lines ``NAME …: 1.23 ms per frame``, such as a script that runs the
official TensorFlow code in its own environment. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from vidcore.task import Task
from vidcore_deploy.step import export_step, open_engine
from vidcore_movinet import VARIANTS, MoViNet, MoViNetModule

THREADS, WARMUP, FRAMES = 2, 10, 50
ENGINES = {"ONNX Runtime": ".onnx"}
if importlib.util.find_spec("litert_torch"):
    ENGINES |= {"LiteRT": ".tflite", "LiteRT, graph alone": ".tflite"}
PORT = importlib.util.find_spec("movinets") is not None


def median_ms(step: Callable[[], object], runs: int = FRAMES, warmup: int = WARMUP) -> float:
    """Return the median time of a step."""
    seconds = []
    for run in range(warmup + runs):
        start = time.perf_counter()
        step()
        if run >= warmup:
            seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def streaming(variant: str, way: str) -> float:
    """Return milliseconds per frame of our stream network."""
    size = VARIANTS[variant].size
    module = MoViNetModule(Task.numbered(600), variant=variant, stream=True).eval()
    state = module.init_state(1, (size, size))
    if way in ENGINES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"step{ENGINES[way]}"
            export_step(module, path)
            engine = open_engine(path, THREADS)
        step: Callable = engine.step
        if way.endswith("graph alone"):
            return median_ms(engine._interpreter.invoke)  # type: ignore[attr-defined]
        frames = torch.randint(0, 256, (1, 3, 1, size, size), dtype=torch.uint8)
    else:
        served = module if way == "eager" else module.for_inference()
        step = torch.compile(served.step) if way == "compiled" else served.step
        frames = torch.rand(1, 3, 1, size, size)

    def once() -> None:
        nonlocal state
        _, state = step(frames, state)

    return median_ms(once)


def port_streaming(variant: str) -> float:
    """Return milliseconds per frame of the port's stream network."""
    from movinets import MoViNet as Port
    from movinets.config import _C

    size = VARIANTS[variant].size
    net = Port(_port_config(_C, variant), causal=True, pretrained=False, num_classes=600, conv_type="2plus1d").eval()
    frames = torch.rand(1, 3, 1, size, size)
    return median_ms(lambda: net(frames))


def clip(variant: str, port: bool) -> float:
    """Return milliseconds per native clip of the base network, ours or the port's."""
    spec = VARIANTS[variant]
    if port:
        from movinets import MoViNet as Port
        from movinets.config import _C

        net = Port(_port_config(_C, variant), causal=False, pretrained=False, num_classes=600).eval()
    else:
        net = MoViNet(variant).eval()
    frames = torch.rand(1, 3, spec.frames, spec.size, spec.size)
    return median_ms(lambda: net(frames), runs=3, warmup=1)


def _port_config(config: object, variant: str) -> object:
    return getattr(config.MODEL, f"MoViNet{variant.upper()}")  # type: ignore[attr-defined]


def wanted(way: str, parts: list[str] | None) -> bool:
    """Return whether a variant is selected."""
    return parts is None or any(part in way for part in parts)


def apart(function: Callable[..., float], *arguments: object) -> float:
    """Run a measurement in a separate process."""
    with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, (THREADS,)) as pool:
        return pool.apply(_without_gradients, (function, *arguments))


def _without_gradients(function: Callable[..., float], *arguments: object) -> float:
    with torch.inference_mode():
        return function(*arguments)


def peers(command: list[str], variant: str) -> dict[str, float]:
    """Return the measurements of another program in the same round."""
    done = subprocess.run(
        [*command, "--variant", variant, "--threads", str(THREADS)], check=True, capture_output=True, text=True
    )
    return {name.strip(): float(ms) for name, ms in re.findall(r"^(.*):\s*([\d.]+) ms per frame", done.stdout, re.M)}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["a0", "a2"], choices=VARIANTS)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="only our variants whose name contains one of these")
    parser.add_argument("--peers", nargs=argparse.REMAINDER, default=[])
    arguments = parser.parse_args()
    versions = {name: version(name) for name in ("torch", "onnxruntime")}
    print(f"{os.cpu_count()} cores, {', '.join(f'{name} {number}' for name, number in versions.items())}\n")
    print("| variant | way | ms a frame |")
    print("| --- | --- | ---: |")
    for variant in arguments.variants:
        times: dict[str, list[float]] = {}
        for _ in range(arguments.turns):
            ways = [way for way in ("eager", "folded", "compiled", *ENGINES) if wanted(way, arguments.ways)]
            turn = {f"vidcore, {way}": apart(streaming, variant, way) for way in ways}
            if PORT:
                turn["PyTorch port"] = apart(port_streaming, variant)
            if arguments.peers:
                turn |= peers(arguments.peers, variant)
            for way, ms in turn.items():
                times.setdefault(way, []).append(ms)
        for way, measured in times.items():
            low, middle, high = min(measured), statistics.median(measured), max(measured)
            print(f"| {variant} | {way} | {middle:.2f} ({low:.2f} to {high:.2f}) |", flush=True)
    if arguments.ways:
        return
    print("\n| variant | clip | vidcore, clips/s | port, clips/s | ratio |")
    print("| --- | --- | ---: | ---: | --- |")
    for variant in arguments.variants:
        spec = VARIANTS[variant]
        turns = [
            (apart(clip, variant, False), apart(clip, variant, True) if PORT else float("nan"))
            for _ in range(arguments.turns)
        ]
        ours, theirs = (statistics.median(measured) for measured in zip(*turns, strict=True))
        ratios = ", ".join(f"{their / our:.2f}" for our, their in turns)
        print(
            f"| {variant} | {spec.frames} × {spec.size}² | {1000 / ours:.2f} | {1000 / theirs:.2f} | {ratios} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
