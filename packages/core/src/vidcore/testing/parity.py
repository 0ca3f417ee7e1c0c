"""Comparison with outputs of official TensorFlow code, run with weights that are generated from variable names."""

from __future__ import annotations

import zlib
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor


class OfficialOutputs:
    """Stored outputs of official code.

    Weights are not stored: the value of a variable is drawn from a generator seeded with its name.

    Args:
        path: A ``.npz`` file with ``names`` and ``shapes`` of the variables; ``frames`` and ``size`` of the clip;
            ``logits`` (1, K); and for endpoints, whose outputs are (B, T, H, W, C), ``endpoint/NAME/shape``,
            ``/mean_std`` and ``/head64``, the first 64 values in memory order.
        tolerance: Maximum difference, relative to the largest absolute value (to the standard deviation, for a mean).
            Default: 1e-4.
    """

    def __init__(self, path: str | Path, tolerance: float = 1e-4) -> None:
        with np.load(path) as file:
            self.arrays = dict(file)
        self.tolerance = tolerance

    @property
    def endpoints(self) -> list[str]:
        """Names of the endpoints."""
        return [key.split("/")[1] for key in self.arrays if key.endswith("/head64")]

    def variables(self) -> dict[str, np.ndarray]:
        """Return the value of each variable by name, float32."""
        shapes = [tuple(int(n) for n in shape.split(",") if n) for shape in self.arrays["shapes"].tolist()]
        return {name: _value(name, shape) for name, shape in zip(self.arrays["names"].tolist(), shapes, strict=True)}

    def clip(self) -> Tensor:
        """Return the input, (1, 3, T, H, W) float32 in [0, 1)."""
        frames, size = int(self.arrays["frames"]), int(self.arrays["size"])
        clip = np.random.default_rng(20261122).random((1, frames, size, size, 3)).astype("float32")
        return torch.from_numpy(clip).permute(0, 4, 1, 2, 3)

    def check_logits(self, logits: Tensor) -> None:
        """Assert that the logits (1, K) equal the official ones."""
        expected = self.arrays["logits"]
        np.testing.assert_allclose(logits, expected, rtol=0, atol=self.tolerance * np.abs(expected).max())

    def check_endpoint(self, name: str, output: Tensor) -> None:
        """Assert that an endpoint's output (B, C, T, H, W) matches the stored part of the official one."""
        found = output.permute(0, 2, 3, 4, 1).numpy()
        mean, std = self.arrays[f"endpoint/{name}/mean_std"].tolist()
        assert found.shape == tuple(self.arrays[f"endpoint/{name}/shape"])
        assert found.mean(dtype="float64") == pytest.approx(mean, abs=self.tolerance * std)
        assert found.std(dtype="float64") == pytest.approx(std, rel=self.tolerance)
        first = self.arrays[f"endpoint/{name}/head64"]
        np.testing.assert_allclose(found.ravel()[:64], first, rtol=0, atol=self.tolerance * np.abs(first).max())


def _value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    kind = name.rsplit("/", 1)[-1].split("#")[0]
    if kind == "moving_variance":
        return np.float32(1 + 0.5 * rng.random(shape))
    normal = rng.standard_normal(shape)
    if kind in ("kernel", "depthwise_kernel"):
        fan = shape[:-1] if kind == "kernel" else shape[:2]
        return np.float32(normal * np.sqrt(2 / prod(fan)))
    return np.float32({"gamma": 1, "scale": 0.5}.get(kind, 0) + 0.1 * normal)
