"""One step of a model that streams as ONNX, LiteRT or torch.export, and what runs it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidcore.batch import Batch, Output
from vidcore.errors import UserError
from vidcore.module import VideoModule
from vidcore.streaming import State, Streaming, take_step
from vidcore.video.limits import LimitError
from vidcore.writing import replacing
from vidcore_deploy.clips import given_or_made, read_batch
from vidcore_deploy.engine import Engine, whole_state
from vidcore_deploy.export import Difference, Exported, brief, check, metadata, noise, save_onnx

STEPS = 50
"""Over which an exported step is checked against eager: what errs a little each time shows."""


class Step(nn.Module):
    """A model that streams as a function of frames as a camera gives them, (B, 3, t, H, W) uint8.

    Raises:
        UserError: The model does not stream.
    """

    def __init__(self, module: VideoModule) -> None:
        super().__init__()
        if not isinstance(module, Streaming):
            name, options = type(module).__name__, module.streams_with
            hint = (
                f"one that is built and trained with {options} does" if options else "none of its options changes that"
            )
            raise UserError(f"this {name} does not stream; {hint}")
        self.module, self.clip_spec, self.task = module, module.clip_spec, module.task

    def init_state(self, batch_size: int, size: tuple[int, int]) -> State:
        """The model's own."""
        return self.module.init_state(batch_size, size)  # type: ignore[operator]

    def step(self, frames: Tensor, state: State) -> tuple[Output, State]:
        """Normalise the frames and call the model's ``step``."""
        rgb = self.module.normalised(Batch(inputs={"rgb": frames}, ids=[]))["inputs"]["rgb"]  # type: ignore[operator]
        return take_step(self.module, rgb, state)

    forward = step

    def costs(self) -> dict[str, int]:
        """Return the multiply-accumulates of one run of each component."""
        return self.module.costs()  # type: ignore[operator]


def export_step(
    module: VideoModule, path: str | os.PathLike[str], videos: Sequence[str] = (), int8: bool = False
) -> Exported:
    """Writes one step of one stream; the file appears once it agrees with eager over ``STEPS`` frames.

    Inputs of the graph are ``frames`` (1, 3, 1, H, W) uint8 and, as ``old.NAME``, the tensors of the state; outputs are
    ``logits`` (1, K) and, as ``new.NAME``, the state after it. What the step only renames it does not copy: ``carried``
    in the metadata says what becomes what, e.g. ``{"b0_l0.ago2": "b0_l0.ago1"}``.

    Args:
        module: A model that streams; it is moved to the CPU and put into eval mode.
        path: ``….onnx``, ``….tflite`` for LiteRT, or ``….pt2`` for torch.export.
        videos: Files whose frames it is checked on; none: a small video is made.
        int8: Quantise it ([`vidcore_deploy.int8`][]) to the values that the videos give rise to; then the differences
            are those of the quantised step, and only reported.

    Raises:
        ExportError: The model cannot be exported, or does not agree.
        UserError: It does not stream; or int8 without videos, or not as ONNX.
        VideoError: A video cannot be read.
    """
    path, model = Path(path), Step(module.cpu().eval())
    if int8 and (not videos or path.suffix != ".onnx"):
        raise UserError("int8 is for .onnx, and needs videos of the kind that the model will see, to find its ranges")
    spec = module.clip_spec
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), given_or_made(videos, spec) as (paths, described):
        clips = read_batch(paths, spec, 1)["inputs"]["rgb"]
        state = model.init_state(1, (clips.shape[3], clips.shape[4]))
        served = Step(module.for_inference())
        after = served.step(clips[:, :, :1], state)[1]  # what fails in eager is no matter of exporting
        carried = {name: old for name, new in after.items() for old, given in state.items() if new is given}
        graph = _Computed(served, [name for name in after if name not in carried])
        facts = {**metadata(module), "carried": json.dumps(carried)}
        facts["state"] = json.dumps({name: list(tensor.shape) for name, tensor in state.items()})
        with replacing(path) as part:
            with brief(module):
                if path.suffix == ".tflite":
                    from vidcore_deploy.litert import save_litert

                    save_litert(graph, clips[:, :, :1], state, graph.names, part, facts)
                else:
                    program = torch.export.export(graph, (clips[:, :, :1], state), strict=False)
                    program.example_inputs = None  # or the frames would be in the file
                    if path.suffix == ".onnx":
                        outputs = ["logits", *(f"new.{name}" for name in graph.names)]
                        inputs = ["frames", *(f"old.{name}" for name in state)]
                        save_onnx(program, part, facts, inputs, outputs)
                    else:
                        torch.export.save(program, part, extra_files=facts)
            inputs_of_check = {described: clips, "random noise": noise({"rgb": clips})["rgb"]}
            engine: Engine | _Loaded
            engine = _Loaded(torch.export.load(part).module(), carried) if path.suffix == ".pt2" else open_engine(part)
            differences = [_difference(name, model, engine, clip) for name, clip in inputs_of_check.items()]
            check(path, differences)
            if int8:
                from vidcore_deploy.int8 import quantise

                quantise(part, StepEngine(part), (read_batch([video], spec, 1)["inputs"]["rgb"] for video in paths))
                differences = [_difference(described, model, StepEngine(part), clips)]
    return Exported(path, False, differences)


class StepEngine(Engine):
    """What ``export_step`` wrote as ONNX, run by ONNX Runtime; a ``Streaming`` of one row.

    Args:
        path: The file.
        threads: Of the CPU; 0: all.

    Raises:
        UserError: No such file, no step of a model in it, or ONNX Runtime is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError('an engine needs onnxruntime: pip install "vidcore-deploy[onnx]"') from None
        if not Path(path).is_file():
            raise UserError(f"no engine at {path}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            super().__init__(self._session.get_modelmeta().custom_metadata_map)
        except LimitError as error:
            raise UserError(f"{path} {error}") from error
        except Exception as error:  # ONNX Runtime's own kinds, or no such metadata
            raise UserError(f"{path} is no step of a model, as vid export --step writes it") from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    @staticmethod
    def feed(frames: Tensor, state: State) -> dict[str, Any]:
        """The graph's inputs by name."""
        return {"frames": frames.numpy(), **{f"old.{name}": tensor.numpy() for name, tensor in state.items()}}

    def run(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits and what is computed of the new state."""
        values = self._session.run(self._outputs, self.feed(frames, state))
        logits, *new = (torch.from_numpy(np.asarray(value)) for value in values)
        return logits, dict(zip((name.removeprefix("new.") for name in self._outputs[1:]), new, strict=True))


def open_engine(path: str | os.PathLike[str], threads: int = 0) -> Engine:
    """Loads what ``export_step`` wrote as ``.onnx`` or ``.tflite``, see ``StepEngine`` for the arguments."""
    if Path(path).suffix == ".tflite":
        from vidcore_deploy.litert import LiteRTEngine

        return LiteRTEngine(path, threads)
    return StepEngine(path, threads)


class _Computed(nn.Module):
    """A step that returns what it computes of the new state, not what it only renames."""

    def __init__(self, model: Step, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        output, after = self.model.step(frames, state)
        if output.logits is None:
            raise UserError(
                f"{type(self.model.module).__name__}.step returns no logits, which an exported step must have"
            )
        return output.logits, {name: after[name] for name in self.names}


class _Loaded:
    """A step that torch.export wrote."""

    def __init__(self, run: Callable[..., Any], carried: dict[str, str]) -> None:
        self.run, self.carried = run, carried

    def step(self, frames: Tensor, state: State) -> tuple[Output, State]:
        logits, computed = self.run(frames, state)
        return Output(logits=logits), whole_state(state, computed, self.carried)


def _difference(described: str, model: Step, engine: Engine | _Loaded, clip: Tensor) -> Difference:
    """Over [`STEPS`][vidcore_deploy.step.STEPS] frames of a clip (1, 3, T, H, W), which begins again where it ends."""
    ours = theirs = model.init_state(1, (clip.shape[3], clip.shape[4]))
    absolute = largest = 0.0
    for number in range(STEPS):
        frame = clip[:, :, number % clip.shape[2]].unsqueeze(2)
        (output, ours), (found, theirs) = model.step(frame, ours), engine.step(frame, theirs)
        expected, got = output.logits, found.logits
        assert expected is not None and got is not None
        absolute = max(absolute, float((got - expected).abs().max()))
        largest = max(largest, float(expected.abs().max()))
    return Difference(described, absolute, absolute / largest if largest else absolute)
