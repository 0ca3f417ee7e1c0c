"""Compute of a model: MACs counted from its graph or from executed operators, and summed per video."""

from vidcore.flops.cost import VideoCost, macs_per_row
from vidcore.flops.executed import executed_macs
from vidcore.flops.report import cost_table, parameters
from vidcore.flops.static import MacCount, UncountedOpError, count_macs

__all__ = [
    "MacCount",
    "UncountedOpError",
    "VideoCost",
    "cost_table",
    "count_macs",
    "executed_macs",
    "macs_per_row",
    "parameters",
]
