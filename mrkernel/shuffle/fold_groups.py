"""The groups of a block, as folding sees them. Pure."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn, from_numbers


def as_column(values: Any) -> ArrowColumn:
    """Make a column of an array of int64 or float64."""
    return from_numbers(values, "float" if values.dtype.kind == "f" else "int")


def starts_of(block: Block) -> Any:
    """Give where each group begins: an int64 array, or a list where values are one."""
    if isinstance(block.columns[0], ArrowColumn):
        counts = block.count_array()
        return counts.cumsum() - counts
    return list(accumulate(block.count_list(), initial=0))[:-1]


def values_of(block: Block, chosen: Any) -> list[tuple[int, list[Any]]]:
    """List the values of the groups that a bool array chooses, with their places."""
    import numpy as np

    counts = block.count_array()
    starts = counts.cumsum() - counts
    column = block.columns[0]
    return [
        (place, column.slice(int(starts[place]), int(starts[place] + counts[place])).to_list())
        for place in np.flatnonzero(chosen).tolist()
    ]
