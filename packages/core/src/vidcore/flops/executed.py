"""MACs of executed operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vidcore.flops import handles
from vidcore.flops.handles import Formula, Shape


def _mkldnn_rnn(x: Shape, w_input: Shape, w_hidden: Shape, *_: Any, **__: Any) -> int:
    """MACs of one layer of an LSTM on CPU, in one direction."""
    return handles.rnn(x, [w_input, w_hidden])


def _lengths(x: Tensor) -> list[int]:
    """Return the length of each row of (B, L, E), padded or nested."""
    return [len(row) for row in x.unbind()]


def _fused_attention(x: Tensor, embed: int) -> int:
    """MACs of self-attention of (B, L, E) including its four projections."""
    return sum(4 * n * embed**2 + 2 * n**2 * embed for n in _lengths(x))


def _multi_head_attention(query: Tensor, key: Tensor, value: Tensor, embed: int, *_: Any, **__: Any) -> int:
    return _fused_attention(query, embed)


def _encoder_layer(x: Tensor, embed: int, *args: Any, **_: Any) -> int:
    feed_forward = args[12].numel() + args[14].numel()
    return _fused_attention(x, embed) + sum(_lengths(x)) * feed_forward


def _roi_align(
    x: Tensor, rois: Tensor, scale: float, high: int, wide: int, ratio: int, aligned: bool = True, *, out_val: Any
) -> int:
    """As ``handles.roi_align``; for a ratio of 0 or less, one sample per input pixel of each box's bin."""
    out = out_val[0] if isinstance(out_val, tuple) else out_val
    if ratio > 0:
        return 4 * ratio**2 * out.numel()
    size = (rois[:, 3:] - rois[:, 1:3]) * scale
    size = size if aligned else size.clamp(min=1)
    samples = torch.ceil(size / size.new_tensor([wide, high])).clamp(min=0).prod(1)
    return 4 * int(samples.sum()) * math.prod(out.shape[1:])


def _doubled(formula: Callable[..., int | None], raw: bool = False) -> Callable[..., int]:
    """Convert a formula to FLOPs (two per MAC) for FlopCounterMode; ``raw``: its arguments are tensors, not shapes."""

    def flops(*args: Any, **kwargs: Any) -> int:
        if isinstance(shape := kwargs.get("out_shape"), (tuple, list)) and shape and not isinstance(shape[0], int):
            kwargs["out_shape"] = shape[0]  # several outputs: the first counts
        return 2 * (formula(*args, **kwargs) or 0)

    flops._get_raw = raw  # type: ignore[attr-defined]
    return flops


def _formulas() -> dict[Any, Callable[..., int]]:
    import torchvision  # noqa: F401  (defines its operators; slow to import)

    names = (
        "mv dot vdot addmv addbmm affine_grid_generator grid_sampler_2d grid_sampler_3d upsample_linear1d "
        "upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa"
    )
    by_name: dict[str, Formula] = {
        **{name: handles.COUNTED["aten::" + name] for name in names.split()},
        "_scaled_dot_product_flash_attention_for_cpu": handles.attention,
        "mkldnn_rnn_layer": _mkldnn_rnn,
        "_cudnn_rnn": handles.rnn,
        "miopen_rnn": handles.rnn,
        "cudnn_grid_sampler": handles.grid_sample,
    }
    aten, vision = torch.ops.aten, torch.ops.torchvision
    return {
        **{getattr(aten, name): _doubled(formula) for name, formula in by_name.items() if hasattr(aten, name)},
        aten._native_multi_head_attention: _doubled(_multi_head_attention, raw=True),
        aten._transformer_encoder_layer_fwd: _doubled(_encoder_layer, raw=True),
        vision.deform_conv2d: _doubled(handles.deform_conv2d),
        vision.roi_align: _doubled(_roi_align, raw=True),
        vision.ps_roi_align: _doubled(_roi_align, raw=True),
    }


def executed_macs(call: Callable[[], Any]) -> int:
    """Count the MACs of the operators executed during ``call()``, with torch's FlopCounterMode and additional formulas.

    Branches and skipped work are counted as executed. Training mode and gradients are up to the caller: a backward pass
    within ``call`` is counted too, except for the additional formulas (recurrent, sampling, fused attention on CPU).

    Counted as zero without notice: normalisation and elementwise operators; Fourier transforms, ``nn.Bilinear``,
    ``cdist``, sparse, quantised and ``linalg`` operators; operators of extensions other than torchvision; custom CUDA
    or Triton kernels; compiled regions (``torch.compile``), exported engines, and work of other threads or processes.
    ``count_macs`` raises an error that names such operators, so compare both.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    with counter:
        call()
    return int(counter.get_total_flops()) // 2
