"""A model as ONNX or torch.export, checked against eager before the file gets its name."""

from __future__ import annotations

import io
import json
import logging
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vidcore import __version__
from vidcore.batch import Batch
from vidcore.errors import UserError
from vidcore.module import VideoModule
from vidcore.writing import replacing
from vidcore_deploy.clips import given_or_made, read_batch

TOLERANCE = 1e-4
"""How far the exported logits may be from eager's, in units of the largest."""

CHECKED = 8
"""How many given videos are checked, at most."""

Inputs = dict[str, Tensor]
Run = Callable[[Inputs], Tensor]


class ExportError(UserError):
    """A model cannot be exported, or what came out does not compute what it should."""


class Exportable(nn.Module):
    """A model as a function of the input tensors that a data loader gives, by modality.

    ``rgb`` is (B, 3, T, H, W) uint8, which is normalised within; ``audio`` is (B, S, N) float32 in [-1, 1].
    """

    def __init__(self, module: VideoModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits (B, K)."""
        output = self.module(self.module.normalised(Batch(inputs=dict(inputs), ids=["0"])))
        if output.logits is None:
            raise ExportError(f"{type(self.module).__name__} returns no logits; only what classifies can be exported")
        return output.logits


@dataclass(frozen=True)
class Difference:
    """How far an exported model is from eager on some clips."""

    clips: str
    """What they are."""
    absolute: float
    """The largest difference of a logit."""
    relative: float
    """In units of the largest logit."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    dynamic: bool
    """Whether any number of clips can be a batch; otherwise one."""
    differences: list[Difference]


def export(module: VideoModule, path: str | os.PathLike[str], videos: Sequence[str] = ()) -> Exported:
    """Writes the model on the CPU; the file appears under its name once it agrees with eager on real clips and noise.

    Args:
        module: The model; it is moved to the CPU and put into eval mode.
        path: ``….onnx``, or ``….pt2`` for torch.export.
        videos: Files whose central clips it is checked on; none: a small video is made.

    Raises:
        ExportError: The model cannot be exported, or does not agree.
        VideoError: A video cannot be read.
    """
    path, module = Path(path), module.cpu().eval()
    model = Exportable(module)
    write, load = {".onnx": (_write_onnx, _load_onnx), ".pt2": (_write_pt2, _load_pt2)}[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), given_or_made(videos, module.clip_spec) as (paths, described):
        clips = read_batch(paths, module.clip_spec, max(2, min(len(paths), CHECKED)))["inputs"]
        model(clips)  # what fails in eager is no matter of exporting
        with replacing(path) as part:
            with brief(module):
                traced = _trace(model, clips)
                write(traced, part, metadata(module))
            run = load(part)
            differences = [
                _difference(described, model, run, clips, traced.dynamic),
                _difference("random noise", model, run, noise(clips), traced.dynamic),
            ]
            check(path, differences)
    return Exported(path, traced.dynamic, differences)


def check(path: Path, differences: Sequence[Difference]) -> None:
    """Refuses what differs by more than [`TOLERANCE`][vidcore_deploy.export.TOLERANCE], or is no number.

    Raises:
        ExportError: Names the clips.
    """
    for found in differences:
        if not found.relative <= TOLERANCE:
            raise ExportError(
                f"{path} is not written: on {found.clips} its logits differ from eager's by "
                f"{found.relative:.2g} of the largest, more than {TOLERANCE:g}"
            )


def metadata(module: VideoModule) -> dict[str, str]:
    """What goes along, as JSON texts: ``model``, ``kind``, ``classes`` in the order of the logits, ``clip``."""
    facts = {
        "model": type(module).__name__,
        "kind": module.task.kind,
        "classes": list(module.task.classes),
        "clip": asdict(module.clip_spec),
        "vidcore": __version__,
    }
    return {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()}


class _Traced(NamedTuple):
    program: torch.export.ExportedProgram
    inputs: list[str]
    dynamic: bool
    """Whether the number of clips is free."""


def _trace(model: Exportable, clips: Inputs) -> _Traced:
    """The graph, for any number of clips where the model permits, else for one."""
    batch = torch.export.Dim("batch")
    shapes = ({name: {0: batch} for name in clips},)
    try:
        program, dynamic = torch.export.export(model, (clips,), dynamic_shapes=shapes, strict=False), True
    except Exception:  # torch raises many kinds; if the batch was not the reason, the next line tells
        program, dynamic = torch.export.export(model, (_rows(clips, 1),), strict=False), False
    program.example_inputs = None  # or the clips would be in the file
    return _Traced(program, list(clips), dynamic)


def _write_pt2(traced: _Traced, path: Path, facts: dict[str, str]) -> None:
    torch.export.save(traced.program, path, extra_files=facts)


def _load_pt2(path: Path) -> Run:
    return torch.export.load(path).module()


def _write_onnx(traced: _Traced, path: Path, facts: dict[str, str]) -> None:
    dynamic = ({name: {0: "batch"} for name in traced.inputs},) if traced.dynamic else None
    save_onnx(traced.program, path, facts, traced.inputs, ["logits"], dynamic)


def save_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    facts: dict[str, str],
    inputs: list[str],
    outputs: list[str],
    dynamic: tuple[dict[str, dict[int, str]]] | None = None,
) -> None:
    """Writes an exported program as ONNX, in one file, with facts in its metadata."""
    exported = torch.onnx.export(
        program,
        (),
        dynamo=True,
        verbose=False,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=dynamic,
    )
    assert exported is not None
    exported.model.metadata_props.update(facts)
    exported.save(path)


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Tensor:
        return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])

    return run


def _difference(clips: str, model: nn.Module, run: Run, inputs: Inputs, dynamic: bool) -> Difference:
    """Of a whole batch and of its first clip alone; one by one where the graph takes one."""
    rows = len(next(iter(inputs.values())))
    batches = [inputs, _rows(inputs, 1)] if dynamic else [_rows(inputs, 1, row) for row in range(rows)]
    expected = [model(batch) for batch in batches]
    got = [run(batch) for batch in batches]
    absolute = max(float((a - b).abs().max()) for a, b in zip(got, expected, strict=True))
    largest = max(float(logits.abs().max()) for logits in expected)
    return Difference(clips, absolute, absolute / largest if largest else absolute)


def _rows(inputs: Inputs, count: int, first: int = 0) -> Inputs:
    return {name: value[first : first + count] for name, value in inputs.items()}


def noise(inputs: Inputs) -> Inputs:
    """Random values in place of the inputs' own."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randint(0, 256, value.shape, generator=generator, dtype=torch.uint8)
        if value.dtype == torch.uint8
        else 2 * torch.rand(value.shape, generator=generator) - 1
        for name, value in inputs.items()
    }


@contextmanager
def brief(module: VideoModule) -> Iterator[None]:
    """Turns pages of torch into a sentence: what it says first, and the model's line that it says it of."""
    logger, level = logging.getLogger("torch"), logging.getLogger("torch").level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):  # where torch prints the graph that it could not finish
            yield
    except (UserError, OSError):
        raise
    except Exception as error:
        here = [str(Path(torch.__file__).parent), __file__]
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(tuple(here))]
        where = f" (at {Path(frames[-1].filename).name}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
        reason = next(
            (" ".join(line.split()) for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        if "data-dependent" in reason:
            reason = "what it runs depends on what it sees, and a graph is fixed"
        raise ExportError(f"{type(module).__name__} cannot be exported: {reason}{where}") from error
    finally:
        logger.setLevel(level)
