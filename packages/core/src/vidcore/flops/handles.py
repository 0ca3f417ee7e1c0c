"""MACs of each operator from the shapes of its arguments, and the operators that count as zero.

A formula takes the operator's arguments, with shapes in place of tensors, and the output's shape as ``out_shape``; both
counters use it. Interpolation counts one MAC per tap of an output value. Attention counts every pair of query and key,
whether masked, causal or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

Shape = Sequence[int]
Formula = Callable[..., "int | None"]
"""Function from shapes to MACs; it returns None if the count depends on values."""


def product(a: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Linear, matmul, mm, bmm, mv, dot, inner: each output value sums over the last dimension of the first operand."""
    return prod(out_shape) * a[-1]


def add_product(_: Shape, a: Shape, *__: Any, out_shape: Shape, **___: Any) -> int:
    """Addmm, addmv, baddbmm: a product that is added to the first argument."""
    return prod(out_shape) * a[-1]


def addbmm(_: Shape, a: Shape, *__: Any, out_shape: Shape, **___: Any) -> int:
    """Addbmm: a batched product of ``a`` (B, N, M), summed over the batch."""
    return prod(out_shape) * a[0] * a[2]


def tensordot(a: Shape, b: Shape, dims: Sequence[int], *_: Any, out_shape: Shape, **__: Any) -> int:
    """Tensordot: sums over the dimensions ``dims`` of ``a``."""
    return prod(out_shape) * prod(a[d] for d in dims)


def einsum(equation: str, operands: Sequence[Shape], path: Sequence[int] | None = None, **_: Any) -> int:
    """Einsum: products of pairs of operands, in the order of ``path`` (default: left to right).

    An index that only one operand has and the result does not need is summed before the product, as torch does.
    fvcore's own handle parses the count from text rounded to four digits, so it is not used.
    """
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    sizes: dict[Any, int] = {}
    terms = []
    for term, shape in zip(inputs.split(","), operands, strict=True):
        before, dots, after = term.partition("...")
        broadcast = list(range(len(before) + len(after) - len(shape), 0)) if dots else []
        indices = [*before, *broadcast, *after]
        for index, size in zip(indices, shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))
        terms.append(set(indices))
    letters = inputs.replace(",", "").replace(".", "")
    kept: set[Any] = set(result) if arrow else {c for c in letters if letters.count(c) == 1}
    kept |= {index for index in sizes if isinstance(index, int) and (not arrow or "." in result)}
    total, order = 0, list(path or [])
    while len(terms) > 1:
        first, second = sorted((order.pop(0), order.pop(0))) if order else (0, 1)
        b, a = terms.pop(second), terms.pop(first)
        needed = kept.union(*terms)
        a, b = a & (b | needed), b & (a | needed)
        if a & b - needed:  # else nothing is summed: elementwise
            total += prod(sizes[index] for index in a | b)
        terms.insert(len(terms) if path else 0, (a | b) & needed)
    return total


def convolution(x: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Convolution, not transposed; ``weight`` is (out, in / groups, *kernel)."""
    return prod(out_shape) * prod(weight[1:])


def attention(q: Shape, k: Shape, v: Shape, *_: Any, **__: Any) -> int:
    """Scaled dot product attention: ``q`` (..., L, E), ``k`` (..., S, E), ``v`` (..., S, Ev)."""
    return prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def rnn(x: Shape, *rest: Any, **_: Any) -> int:
    """GRU, LSTM, plain RNN, packed or not: every weight matrix once per step of every row.

    The weights are the last list of shapes among the arguments (the states of an LSTM are a list too).
    """
    weights = [a for a in rest if isinstance(a, list) and a and not isinstance(a[0], int)][-1]
    return prod(x[:-1]) * sum(prod(w) for w in weights if len(w) == 2)


def interpolation(taps: int) -> Formula:
    """Upsampling with ``taps`` input values per output value."""
    return lambda *_, out_shape, **__: prod(out_shape) * taps


def antialiased(taps: int) -> Formula:
    """Separable antialiased resizing, rows first; the filter widens with the reduction."""

    def width(size: int, out: int) -> int:
        return math.ceil(taps * max(size / out, 1))

    def macs(x: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
        (*planes, high, wide), (out_high, out_wide) = x, out_shape[-2:]
        return prod(planes) * out_wide * (high * width(wide, out_wide) + out_high * width(high, out_high))

    return macs


def grid_sample(x: Shape, grid: Shape, mode: int = 0, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Grid sampling; ``mode`` 0 is linear in 2 or 3 dimensions, 1 nearest (free), 2 cubic."""
    return prod(out_shape) * {0: 2 ** grid[-1], 1: 0, 2: 4 ** grid[-1]}[mode]


def affine_grid(theta: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Affine grid: ``theta`` (N, 2, 3) or (N, 3, 4) times homogeneous coordinates."""
    return prod(out_shape) * theta[-1]


def deform_conv2d(x: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Deformable convolution: the convolution plus four taps per sampled value of all input channels."""
    batch, _out, high, wide = out_shape
    return prod(out_shape) * prod(weight[1:]) + 4 * batch * x[1] * prod(weight[2:]) * high * wide


def roi_align(x: Shape, rois: Shape, scale: float, high: int, wide: int, ratio: int, *_: Any, **k: Any) -> int | None:
    """RoI align: four taps for each of ratio² samples per output value; None for a ratio of 0 or less."""
    return 4 * ratio**2 * prod(k["out_shape"]) if ratio > 0 else None


def _aten(names: str, in_place: bool = False) -> frozenset[str]:
    return frozenset(f"aten::{name}{suffix}" for name in names.split() for suffix in (("", "_") if in_place else ("",)))


COUNTED: dict[str, Formula] = {
    **dict.fromkeys(_aten("linear matmul mm bmm mv dot vdot inner"), product),
    **dict.fromkeys(_aten("addmm addmv baddbmm"), add_product),
    **dict.fromkeys(_aten("gru lstm rnn_tanh rnn_relu"), rnn),
    "aten::addbmm": addbmm,
    "aten::tensordot": tensordot,
    "aten::einsum": einsum,
    "aten::_convolution_mode": convolution,
    "aten::scaled_dot_product_attention": attention,
    "aten::upsample_linear1d": interpolation(2),
    "aten::upsample_bilinear2d": interpolation(4),
    "aten::upsample_trilinear3d": interpolation(8),
    "aten::upsample_bicubic2d": interpolation(16),
    "aten::_upsample_bilinear2d_aa": antialiased(2),
    "aten::_upsample_bicubic2d_aa": antialiased(4),
    **dict.fromkeys(_aten("grid_sampler grid_sampler_2d grid_sampler_3d"), grid_sample),
    "aten::affine_grid_generator": affine_grid,
    "torchvision::deform_conv2d": deform_conv2d,
    "torchvision::roi_align": roi_align,
    "torchvision::ps_roi_align": roi_align,
}
"""Formula of each counted operator of a traced graph; ``aten::_convolution`` uses fvcore's."""

ELEMENTWISE = _aten(
    """
    abs acos add addcdiv addcmul asin atan atan2 bernoulli ceil celu clamp clamp_max clamp_min clip cos cosh cumprod
    cumsum div elu erf erfc exp exp2 expm1 exponential floor floor_divide fmod frac hardsigmoid hardswish hardtanh
    leaky_relu lerp log log10 log1p log2 logit maximum minimum mish mul multiply nan_to_num neg normal pow prelu
    reciprocal relu relu6 remainder renorm round rrelu rsqrt rsub selu sigmoid sign silu sin sinh softplus sqrt square
    sub tan tanh threshold trunc uniform xlogy
    """,
    in_place=True,
) | _aten(
    """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d amax amin aminmax avg_pool1d avg_pool2d avg_pool3d batch_norm cosine_similarity embedding_bag
    frobenius_norm gelu ger glu group_norm instance_norm layer_norm linalg_norm linalg_vector_norm log_sigmoid
    log_softmax logcumsumexp logsumexp max max_pool1d max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices mean median min multinomial norm outer pairwise_distance prod rand rand_like randn
    randn_like rms_norm softmax std std_mean sum var var_mean _weight_norm
    """
)
"""Operators not in the total: normalisation, activation, pooling, reduction, elementwise arithmetic, random numbers."""

MEMORY = (
    _aten(
        """
        alpha_dropout bitwise_and bitwise_not bitwise_or bitwise_xor copy detach dropout eq feature_dropout fill ge gt
        index_add index_copy index_fill index_put le logical_and logical_not logical_or logical_xor lt masked_fill
        masked_scatter ne scatter scatter_add scatter_reduce squeeze swapaxes t transpose tril triu unsqueeze zero
        """,
        in_place=True,
    )
    | _aten(
        """
        Bool BoolImplicit Float FloatImplicit Int IntImplicit ScalarImplicit __and__ __iand__ __ior__ __or__ __xor__
        _pack_padded_sequence _pad_packed_sequence _shape_as_tensor _unique2 alias all any arange argmax argmin argsort
        as_strided bincount block_diag broadcast_tensors broadcast_to bucketize cat channel_shuffle chunk clone col2im
        column_stack concat constant_pad_nd contiguous count_nonzero cummax cummin diag diag_embed diagonal diff
        embedding empty empty_like expand expand_as eye flatten flip full full_like gather hstack im2col index
        index_select is_nonzero isclose isfinite isinf isnan item kthvalue lift_fresh linspace masked_select meshgrid
        movedim narrow new_empty new_full new_ones new_zeros nonzero nonzero_numpy numel numpy_T one_hot ones ones_like
        pad permute pixel_shuffle pixel_unshuffle randint randperm reflection_pad1d reflection_pad2d reflection_pad3d
        repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape reshape_as roll rot90
        scalar_tensor searchsorted select select_scatter size slice slice_scatter sort split split_with_sizes stack take
        take_along_dim tensor_split tile to topk tril_indices triu_indices type_as unbind unflatten unfold
        unique_consecutive unsafe_chunk unsafe_split upsample_nearest1d upsample_nearest2d upsample_nearest3d
        _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d view view_as vstack where zeros
        zeros_like
        """
    )
    # torchvision scripts two functions when it is traced; they call nms.
    | {"prim::CallFunction._batched_nms_coordinate_trick", "prim::CallFunction._batched_nms_vanilla"}
    | {"torchvision::nms", "torchvision::roi_pool", "torchvision::ps_roi_pool"}
)
"""Operators without significant arithmetic: views, copies, indexing, comparison, sorting, constants."""


def argument(value: Any) -> Any:
    """Convert a ``torch._C.Value`` of a traced graph to a formula's argument: a shape, list of shapes, or constant."""
    if value.isCompleteTensor():
        return tuple(value.type().sizes())
    if value.node().kind() == "prim::ListConstruct":
        return [argument(v) for v in value.node().inputs()]
    return value.toIValue()
