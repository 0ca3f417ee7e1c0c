"""Seeds that say what is drawn, whatever was drawn before and in whichever process."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def run_seed() -> int:
    """The seed of the run: what Lightning's ``seed_everything`` was given, or else torch's."""
    return int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed())) % 2**62


def mixed(*numbers: int) -> int:
    """One seed in [0, 2^63) out of several numbers from 0 on; other numbers or another order give another one."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_process(seed: int, device: torch.device) -> None:
    """Seeds numpy, ``random``, and torch on the CPU and the kind of ``device``."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # ten times as fast as for all kinds
    else:
        torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def drawing_from(seed: int | None) -> Iterator[None]:
    """What torch draws on the CPU inside comes from ``seed`` and leaves the generator as it was; None: no change."""
    if seed is None:
        yield
        return
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
