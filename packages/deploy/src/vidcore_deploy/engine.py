"""What the exported steps of streaming models have in common, whatever runs them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vidcore.batch import Output
from vidcore.clip import ClipSpec
from vidcore.errors import UserError
from vidcore.streaming import State
from vidcore.task import Task
from vidcore.video.limits import PIXELS, STATE_BYTES


class Engine:
    """A [`Streaming`][vidcore.streaming.Streaming] of one row that a file describes; subclasses ``run`` it.

    Args:
        facts: The file's metadata, as [`export_step`][vidcore_deploy.step.export_step] writes them.

    Raises:
        LimitError: The metadata declare too much, see ``vidcore.video.limits``.
        ValueError: They are none, as are other errors that reading them raises.
    """

    def __init__(self, facts: Mapping[str, str]) -> None:
        self._shapes = {name: [int(size) for size in shape] for name, shape in json.loads(facts["state"]).items()}
        if any(size < 0 for shape in self._shapes.values() for size in shape):
            raise ValueError(f"shapes of the state have negative sizes: {facts['state']}")
        self._carried: dict[str, str] = json.loads(facts["carried"])
        STATE_BYTES.check(sum(4 * math.prod(shape) for shape in self._shapes.values()))
        self.clip_spec = ClipSpec(**json.loads(facts["clip"]))
        PIXELS.check(self.clip_spec.size**2)
        self.task = Task(json.loads(facts["kind"]), tuple(json.loads(facts["classes"])))

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """Zeros, for the one stream and the size that the file is for.

        Raises:
            UserError: Another number of streams or size.
        """
        if batch_size != 1 or size != (self.clip_spec.size, self.clip_spec.size):
            raise UserError(f"the engine is for 1 stream of {self.clip_spec.size}², not {batch_size} of {size}")
        return {name: torch.zeros(shape) for name, shape in self._shapes.items()}

    def step(self, frames: Tensor, state: State) -> tuple[Output, State]:
        """Process one frame (1, 3, 1, H, W) uint8; return an output with logits (1, K) and the new state.

        Raises:
            UserError: Frames of another shape.
        """
        size = self.clip_spec.size
        if tuple(frames.shape) != (1, 3, 1, size, size):
            raise UserError(f"the engine takes frames (1, 3, 1, {size}, {size}), not {tuple(frames.shape)}")
        logits, computed = self.run(frames, state)
        return Output(logits=logits), whole_state(state, computed, self._carried)

    def costs(self) -> dict[str, int]:
        """Return an empty dictionary: the file has no components."""
        return {}

    def run(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits and what is computed of the new state."""
        raise NotImplementedError


def whole_state(state: State, computed: State, carried: Mapping[str, str]) -> State:
    """The new state: what was computed of it, and what only got another name."""
    return {name: computed[name] if name in computed else state[carried[name]] for name in state}
