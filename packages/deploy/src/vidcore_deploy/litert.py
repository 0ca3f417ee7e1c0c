"""One step of a model that streams as a LiteRT file (once TensorFlow Lite), and what runs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidcore.errors import UserError
from vidcore.streaming import State
from vidcore.video.limits import LimitError, check_unpacked
from vidcore_deploy.engine import Engine

FACTS = "vidcore.json"
"""The metadata lies in a zip archive at the end of the file, where LiteRT's own metadata go too."""


def save_litert(
    graph: nn.Module, frames: Tensor, state: State, names: Sequence[str], path: Path, facts: dict[str, str]
) -> None:
    """Writes a step for LiteRT: from ``frames`` (1, H, W, 3) uint8 and the state's tensors to logits and new ones.

    Args:
        graph: From frames (1, 3, 1, H, W) uint8 and a state to logits (1, K) and what it computes of the new state.
        frames: An example, (1, 3, 1, H, W).
        state: An example.
        names: What the graph computes of the new state, in order.
        path: The file to write.
        facts: The metadata.

    Raises:
        UserError: The converter is not installed.
    """
    try:
        import litert_torch
    except ImportError:
        raise UserError('a .tflite file needs litert-torch: pip install "vidcore-deploy[litert]"') from None
    images = frames[:, :, 0].permute(0, 2, 3, 1).contiguous()
    with contextlib.redirect_stdout(io.StringIO()):  # its own progress
        converted = litert_torch.convert(_Flat(graph, list(state), names).eval(), (images, *state.values()))
        converted.export(str(path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FACTS, json.dumps({**facts, "inputs": list(state), "outputs": list(names)}))


class LiteRTEngine(Engine):
    """What ``save_litert`` wrote, run by LiteRT with XNNPACK; a ``Streaming`` of one row.

    Args:
        path: The file.
        threads: Of the CPU; 0: all.

    Raises:
        UserError: No such file, no step of a model in it, or LiteRT is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 0) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise UserError('this engine needs ai-edge-litert: pip install "vidcore-deploy[litert]"') from None
        if not Path(path).is_file():
            raise UserError(f"no engine at {path}")
        try:
            with zipfile.ZipFile(path) as archive:
                check_unpacked(archive.getinfo(FACTS).file_size, Path(path).stat().st_size)
                facts = json.loads(archive.read(FACTS))
            self._interpreter = Interpreter(str(path), num_threads=threads or os.cpu_count())
            self._interpreter.allocate_tensors()
            super().__init__(facts)
            self._inputs, self._outputs = facts["inputs"], facts["outputs"]
            runner = self._interpreter.get_signature_runner()
            inputs, outputs = runner.get_input_details(), runner.get_output_details()
            self._into = [self._memory(inputs[f"args_{i}"]) for i in range(len(self._inputs) + 1)]
            self._from = [self._memory(outputs[f"output_{i}"]) for i in range(len(self._outputs) + 1)]
        except LimitError as error:
            raise UserError(f"{path} {error}") from error
        except Exception as error:  # LiteRT's own kinds, or no such metadata
            raise UserError(f"{path} is no step of a model, as vid export --step writes it") from error

    def run(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits and what is computed of the new state."""
        tensors = [frames[:, :, 0].permute(0, 2, 3, 1), *(state[name] for name in self._inputs)]
        for memory, tensor in zip(self._into, tensors, strict=True):
            np.copyto(memory(), tensor.numpy())
        self._interpreter.invoke()
        logits, *new = (torch.from_numpy(memory().copy()) for memory in self._from)
        return logits, dict(zip(self._outputs, new, strict=True))

    def _memory(self, details: dict[str, Any]) -> Callable[[], np.ndarray]:
        """What gives a tensor's memory within the interpreter; it may not be kept over a run."""
        return self._interpreter.tensor(details["index"])


class _Flat(nn.Module):
    """A step whose inputs and outputs have an order in place of names, with frames as pictures come."""

    def __init__(self, model: nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.inputs, self.outputs = model, inputs, outputs

    def forward(self, images: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        state = dict(zip(self.inputs, tensors, strict=True))
        logits, computed = self.model(images.permute(0, 3, 1, 2).unsqueeze(2), state)
        return logits, *(computed[name] for name in self.outputs)
