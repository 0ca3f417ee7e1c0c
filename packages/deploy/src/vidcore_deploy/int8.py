"""Post-training quantisation of an exported step to int8, by ONNX Runtime."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from vidcore_deploy.step import StepEngine


def quantise(path: str | os.PathLike[str], engine: StepEngine, clips: Iterable[Tensor]) -> None:
    """Replaces the ONNX file of a step by one whose convolutions and linear layers compute in int8.

    Weights have a scale a channel, activations one a tensor, from the smallest and largest value that the clips give
    rise to. State and logits stay float32.

    Args:
        path: The file.
        engine: What runs it.
        clips: uint8 frames (1, 3, T, H, W), of the kind that it will see.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Feeds(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = _feeds(engine, clips)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it logs to the root, and that it was not asked to preprocess
    try:
        with tempfile.TemporaryDirectory() as folder:
            folded, small = Path(folder) / "folded.onnx", Path(folder) / "int8.onnx"
            # Normalisation must be in the convolutions' weights before these get their scales.
            quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
            quantize_static(
                str(folded),
                str(small),
                Feeds(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"ActivationSymmetric": False},
            )
            model = onnx.load(small)
            facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
            onnx.helper.set_model_props(model, {**facts, "precision": "int8"})
            onnx.save(model, path)
    finally:
        logging.root.setLevel(level)


def _feeds(engine: StepEngine, clips: Iterable[Tensor]) -> Iterator[dict[str, Any]]:
    """What the graph gets, frame by frame, the state carried on."""
    for clip in clips:
        state = engine.init_state(1, (clip.shape[3], clip.shape[4]))
        for number in range(clip.shape[2]):
            frame = clip[:, :, number : number + 1].contiguous()
            yield engine.feed(frame, state)
            _, state = engine.step(frame, state)
