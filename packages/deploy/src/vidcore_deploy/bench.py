"""What a model takes: time to decode and to compute, memory, and the MACs that really ran."""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidcore import __version__
from vidcore.batch import Batch
from vidcore.errors import UserError
from vidcore.flops import executed_macs, macs_per_row
from vidcore.module import VideoModule, peak_memory_mb
from vidcore.reading.dataset import VideoDataset
from vidcore.sample import Sample
from vidcore_deploy.clips import given_or_made, read_batch

WARM_UP = 3
"""Calls before those that count."""


def bench(
    module: VideoModule,
    paths: Sequence[str] = (),
    *,
    batch_size: int = 8,
    repeats: int = 20,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Measures a model on real clips.

    ``decode`` is what one process takes to read a clip and transform it; ``compute`` is normalisation and ``forward``
    of frames that are on the device already, its kernels waited for. ``macs`` are of one clip, the mean of a batch.

    Args:
        module: The model; it is moved to the device and put into eval mode.
        paths: Video files; none: a small video is made.
        batch_size: Clips a batch, measured beside a batch of 1.
        repeats: Measurements each, after some to warm up.
        device: Where to compute.

    Returns:
        Plain values, as ``vid bench --json`` prints them. Times are in milliseconds a batch.

    Raises:
        VideoError: A file cannot be read.
        UncountedOpError: The model holds an operation that nobody knows how to count.
    """
    module, device = module.to(device).eval(), torch.device(device)
    spec = module.clip_spec
    counted = module.costs()
    with torch.inference_mode(), given_or_made(paths, spec) as (videos, described):
        decode = _decode(module, videos, repeats)
        batch = _to(read_batch(videos, spec, batch_size), device)
        compute = [_compute(module, _rows(batch, rows), repeats, device) for rows in dict.fromkeys((1, batch_size))]
        macs = _macs(module, batch, counted)
    return {
        "model": type(module).__name__,
        "parameters": module.num_parameters(),
        "clip": asdict(spec),
        "videos": described,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "versions": {"vidcore": __version__, "torch": torch.__version__},
        "repeats": repeats,
        "decode": decode,
        "compute": compute,
        "memory": "of the accelerator's allocator" if device.type == "cuda" else "resident, of the whole process",
        "macs": macs,
    }


def device_of(accelerator: str) -> torch.device:
    """Of ``auto``, ``cpu`` or ``gpu``.

    Raises:
        UserError: There is no such device here.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("--accelerator gpu: torch finds no CUDA device here")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def _processor() -> str:
    """The CPU's name; only Linux has it in a file."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0] if names else platform.processor() or platform.machine()}"


def _decode(module: VideoModule, videos: Sequence[str], repeats: int) -> dict[str, float]:
    dataset = VideoDataset([Sample(path) for path in videos], None, module.clip_spec)
    samples = itertools.cycle(dataset.samples)
    return _summary(_times(lambda: dataset.read(next(samples)), repeats, torch.device("cpu")), 1)


def _compute(module: VideoModule, batch: Batch, repeats: int, device: torch.device) -> dict[str, float]:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times = _times(lambda: module(_normalised(module, batch)), repeats, device)
    rows = len(batch["ids"])
    return {"batch_size": rows, **_summary(times, rows), "peak_memory_mb": round(peak_memory_mb(device), 1)}


def _macs(module: VideoModule, batch: Batch, costs: dict[str, int]) -> dict[str, float | None]:
    """Of one clip: those that ran, and Σ usage·cost."""
    outputs = []
    rows, ready = len(batch["ids"]), _normalised(module, batch)
    executed = executed_macs(lambda: outputs.append(module(ready))) / rows
    counted = float(macs_per_row(outputs[0].usage, costs, rows).mean())
    return {"executed": executed, "counted": counted, "ratio": executed / counted if counted else None}


def _times(call: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """Seconds of each call, kernels included."""
    times = []
    for _ in range(WARM_UP + repeats):
        _synchronise(device)
        start = time.perf_counter()
        call()
        _synchronise(device)
        times.append(time.perf_counter() - start)
    return times[WARM_UP:]


def _summary(times: Sequence[float], rows: int) -> dict[str, float]:
    median, p95 = (1000 * np.quantile(times, [0.5, 0.95])).tolist()
    return {"median_ms": round(median, 3), "p95_ms": round(p95, 3), "clips_per_second": round(1000 * rows / median, 3)}


def _normalised(module: VideoModule, batch: Batch) -> Batch:
    return module.normalised(Batch(**{**batch, "inputs": dict(batch["inputs"])}))


def _rows(batch: Batch, rows: int) -> Batch:
    def first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor[:rows] for name, tensor in tensors.items()}

    return Batch(inputs=first(batch["inputs"]), ids=batch["ids"][:rows], present=first(batch.get("present", {})))


def _to(batch: Batch, device: torch.device) -> Batch:
    def moved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(device) for name, tensor in tensors.items()}

    return Batch(inputs=moved(batch["inputs"]), ids=batch["ids"], present=moved(batch.get("present", {})))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
