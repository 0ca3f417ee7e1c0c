"""MACs of a module from the traced graph of one forward pass."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from vidcore.errors import UserError
from vidcore.flops.handles import COUNTED, ELEMENTWISE, MEMORY, Formula, argument

with warnings.catch_warnings():  # fvcore uses torch.jit.script, which is deprecated
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import conv_flop_jit


class UncountedOpError(UserError):
    """The module uses operators without a formula."""


@dataclass(frozen=True)
class MacCount:
    """Multiply-accumulates of one forward pass.

    Args:
        total: MACs of convolution, linear, matmul, attention, recurrent and sampling operators.
        by_module: MACs by submodule; "" is the whole module. An operator belongs to the innermost submodule that was
            called (``module.forward(x)`` is not a call) and to all its parents.
        by_operator: MACs by operator, e.g. ``conv``, ``linear``.
        elementwise: Number of values computed by operators that are not in the total: normalisation, activation,
            pooling, arithmetic; for each the size of the first input or the output, whichever is larger.
        uncounted: Number of occurrences of each operator that ``allow_uncounted`` permitted.
    """

    total: int
    by_module: dict[str, int]
    by_operator: dict[str, int]
    elementwise: int
    uncounted: dict[str, int]


class _KeepAlive(TorchFunctionMode):
    """Keep one value of each result, so that the tracer does not remove results used only for control flow."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex()) and leaf.numel():
                self.values.append(leaf.as_strided((1,), (1,)).clone())
        return result


class _Traceable(nn.Module):
    """Wrap a module such that it takes and returns tensors only."""

    def __init__(self, module: nn.Module, leaves: list[Any], spec: Any) -> None:
        super().__init__()
        self.module, self._leaves, self._spec = module, leaves, spec

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        with _KeepAlive() as alive:
            self.module(*tree_unflatten(leaves, self._spec))
        return (torch.zeros(()), *alive.values)


@contextmanager
def _in_eval_and_restored(module: nn.Module) -> Iterator[None]:
    """Switch to eval mode; afterwards restore attributes, modes, hooks, buffers and requires_grad of all submodules."""
    attributes = [
        (m.__dict__, dict(m.__dict__), {k: dict(v) for k, v in m.__dict__.items() if isinstance(v, dict)})
        for m in module.modules()
    ]
    buffers = [(b, b.clone()) for b in module.buffers()]
    gradients = [(p, p.requires_grad) for p in module.parameters()]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        # In eval mode, the fused attention kernel hides its linear layers.
        torch.backends.mha.set_fastpath_enabled(False)
        for m in module.modules():
            m.training = False
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for current, before, tables in attributes:
            current.clear()
            current.update(before)
            for name, table in tables.items():
                current[name].clear()
                current[name].update(table)
        for buffer, before_ in buffers:
            buffer.copy_(before_)
        for parameter, wanted in gradients:
            parameter.requires_grad = wanted


def count_macs(module: nn.Module, inputs: tuple[Any, ...], *, allow_uncounted: Iterable[str] = ()) -> MacCount:
    """Count the MACs of ``module(*inputs)`` without changing the module or torch's random state.

    The module runs once, in eval mode without gradients, and fvcore (FlopCountAnalysis) reads the traced graph. If
    control flow depends on data, the count holds for these inputs. The count is for the whole batch.

    Args:
        module: Module on any device but meta, without TorchScript submodules.
        inputs: Positional arguments, on the module's device. May contain dicts, lists, None.
        allow_uncounted: Operators to count as zero, e.g. ``aten::fft_rfft`` or ``prim::PythonOp.MyFunction``, a custom
            autograd function (the torch operators that it calls are counted). Default: none.

    Raises:
        UncountedOpError: An operator has no formula and is not known to be free (``handles.COUNTED``, ``ELEMENTWISE``,
            ``MEMORY``): a custom autograd function, an operator of an extension, a Fourier transform.
        UserError: A submodule is TorchScript, which cannot be traced.
    """
    for name, child in module.named_modules():
        if isinstance(child, torch.jit.ScriptModule):
            raise UserError(
                f"cannot count the MACs of {name or 'the module'}: it is TorchScript; pass the eager module"
            )
    allowed = frozenset(allow_uncounted)
    elementwise = 0
    uncounted: Counter[str] = Counter()

    def counted(name: str, formula: Formula) -> Callable[..., Counter[str] | int]:
        def handle(arguments: list[Any], outputs: list[Any]) -> Counter[str] | int:
            macs = formula(*map(argument, arguments), out_shape=argument(outputs[0]))
            if macs is None:
                uncounted[name] += 1
            return Counter() if macs is None else macs

        return handle

    def add_elementwise(arguments: list[Any], outputs: list[Any]) -> Counter[str]:
        nonlocal elementwise
        shapes = [v.type().sizes() for v in (*arguments[:1], *outputs[:1]) if v.isCompleteTensor()]
        elementwise += max((prod(s) for s in shapes if s), default=0)
        return Counter()

    def scripted(arguments: list[Any], outputs: list[Any]) -> Counter[str]:
        name = "prim::CallFunction." + arguments[0].node().s("name").rsplit(".", 1)[-1]
        if name not in MEMORY:
            uncounted[name] += 1
        return Counter()

    handles: dict[str, Any] = {
        **dict.fromkeys(MEMORY),
        **dict.fromkeys(ELEMENTWISE, add_elementwise),
        **{name: counted(name, formula) for name, formula in COUNTED.items()},
        "aten::_convolution": conv_flop_jit,
        "prim::CallFunction": scripted,
    }
    leaves, spec = tree_flatten(inputs)
    tensors = [leaf.detach().clone() for leaf in leaves if isinstance(leaf, Tensor)]
    devices = {t.device.index for t in (*tensors, *module.parameters(), *module.buffers()) if t.device.type == "cuda"}
    with (
        warnings.catch_warnings(),
        torch.no_grad(),
        torch.random.fork_rng(devices=sorted(devices)),
        _in_eval_and_restored(module),
    ):
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(_Traceable(module, leaves, spec), tuple(tensors)).clear_op_handles()
        analysis.set_op_handle(**{name: handle for name, handle in handles.items() if name not in allowed})
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        counts = analysis.by_module_and_operator()
        uncounted += analysis.unsupported_ops()

    if unknown := sorted(uncounted.keys() - allowed):
        listed = ", ".join(f"{name} ({uncounted[name]}x)" for name in unknown)
        raise UncountedOpError(
            f"cannot count the MACs of {type(module).__name__}: no formula (or none from shapes alone) for {listed}. "
            f"To count them as zero: count_macs(..., allow_uncounted={unknown})"
        )
    by_module = {
        name.removeprefix("module").removeprefix("."): int(sum(operators.values()))
        for name, operators in counts.items()
        if name
    }
    by_operator = {name: int(macs) for name, macs in counts["module"].items() if macs}
    return MacCount(by_module[""], by_module, by_operator, elementwise, dict(uncounted))
