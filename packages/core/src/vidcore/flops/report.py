"""Table of a model's cost."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from torch import nn


def parameters(*modules: nn.Module) -> int:
    """Return the number of parameters of all modules together; shared parameters count once."""
    return sum({id(p): p.numel() for m in modules for p in m.parameters()}.values())


def cost_table(
    title: str,
    components: Mapping[str, tuple[nn.Module, int]],
    runs: Mapping[str, float] | None = None,
    total_parameters: int | None = None,
) -> Table:
    """Build a table of parameters and GMACs by component, with their total.

    Args:
        title: Title of the table.
        components: Module and MACs of one run, by name.
        runs: Number of runs per video by component, shown as a column; the total is Σ runs·GMACs. A missing component
            runs once. None: every component runs once, and there is no such column.
        total_parameters: Parameters of the network. Default: those of all components, shared ones counted once.
    """
    table = Table(title=title)
    table.add_column("component")
    for heading in ("parameters", "GMACs", *(("runs",) if runs is not None else ())):
        table.add_column(heading, justify="right")
    total = 0.0
    for name, (module, macs) in components.items():
        times = (runs or {}).get(name, 1.0)
        total += times * macs / 1e9
        how_often = () if runs is None else (f"{times:.4g}",)
        table.add_row(name, f"{parameters(module):,}", f"{macs / 1e9:.4g}", *how_often)
    table.add_section()
    if total_parameters is None:
        total_parameters = parameters(*(module for module, _ in components.values()))
    table.add_row("total", f"{total_parameters:,}", f"{total:.4g}", style="bold")
    return table
