"""Folding the values of each group of a block: to states, states to fewer, states to results. Pure.

A fold must be invisible: what comes out is exactly what the built-in of `job.builtins` gives for
all values of the group, in any number of map tasks, spills and passes. What a block holds between
map and reduce is the built-in's *state*, one or more to a group:

* sum: ints exactly, whatever their size; of floats a few whose exact sum is that of all (Shewchuk
  1997, as in ``math.fsum``), rounded once, at the end, by the reducer;
* min, max: the best value, after a NaN if that comes first: Python's ``min`` passes over others;
* count: a number; first, set, top: the values that matter; mean, stats: see `job.moments`;
* list has nothing to fold.

Typed columns fold in numpy and never become Python objects; what numpy would not do exactly,
and short blocks, Python does group by group. What cannot be folded stays as it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import chain
from operator import ne
from typing import Any

from mrkernel.job import moments
from mrkernel.job.builtins import IDENTITY, builtin_reducer, top_number
from mrkernel.shuffle import fold_arrays as arrays
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn, pack
from mrkernel.shuffle.fold_groups import as_column, starts_of, values_of
from mrkernel.shuffle.fold_moments import fold_moments, join_states, means_of, stats_of

_ORDERED = moments.REAL | {str, bytes, type(None)}

Shorten = Callable[[list[Any]], Sequence[Any]]


def fold_block(block: Block, name: str) -> Block:
    """Fold the values of each group to states.

    Args:
        block: groups of values as the mapper gave them.
        name: a built-in reducer, such as "sum" or "top:3".
    """
    column = block.columns[0]
    if name == "count":
        if isinstance(column, ArrowColumn) or block.keys.typed:  # numpy is there
            return Block(block.keys, None, [as_column(block.count_array())])
        return Block(block.keys, None, [pack(block.count_list())])
    if name in ("mean", "stats"):
        folded = fold_moments(block, column, name) if isinstance(column, ArrowColumn) else None
        return folded or _by_group(
            block, moments.mean_states if name == "mean" else moments.stats_states
        )
    return _shortened(block, name)


def merge_block(block: Block, name: str) -> Block:
    """Fold states to fewer; as it is where that needs Python."""
    column = block.columns[0]
    if block.counts is None:
        return block
    if name == "count":
        return _shortened(block, "sum")
    if name not in ("mean", "stats"):
        return _shortened(block, name)
    if isinstance(column, ArrowColumn) and column.kind == "bytes":
        merged = join_states(block, column)
        if merged is not None and not merged[1].any():
            return Block(block.keys, None, [merged[0]])
    return block


def finish_block(block: Block, name: str) -> Block | None:
    """Give the results, one to a group (for ``identity`` as many as there are values).

    None where only Python has them: see `finisher`.

    Args:
        block: groups of states.
        name: the built-in.
    """
    column = block.columns[0]
    alone = block.counts is None
    if name == IDENTITY:
        return block
    if name == "first" or (alone and name in ("min", "max")):
        return Block(block.keys, None, [column if alone else column.take(starts_of(block))])
    if not isinstance(column, ArrowColumn):
        return None
    values: Any = None
    failed: Any = None
    if name in ("sum", "count") and column.kind == "int":
        if alone:
            return block
        values, failed = arrays.sum_whole(column.numpy(), starts_of(block))
    elif name == "sum" and column.kind == "float":
        parts, failed = arrays.sum_floats(column.numpy(), starts_of(block), block.count_array())
        values = arrays.rounded(parts)
    elif name in ("min", "max") and column.kind in ("int", "float"):
        values, failed = arrays.best(column.numpy(), starts_of(block), name == "max")
    elif name == "mean" and column.kind == "bytes":
        values, failed = means_of(block, column)
    elif name == "stats" and column.kind == "bytes":
        return stats_of(block, column)
    if values is None:
        return None
    if failed.any():
        if values.dtype.kind != "f":
            return None
        finish = finisher(name) or builtin_reducer(name)
        for place, states in values_of(block, failed):
            values[place] = finish(states)
    return Block(block.keys, None, [as_column(values)])


def finisher(name: str) -> Callable[[Any], Any] | None:
    """Give what makes a result of the states of one group; None: the built-in itself does."""
    found: dict[str, Callable[[Any], Any]] = {
        "count": sum,
        "mean": moments.mean_of,
        "stats": moments.stats_of,
    }
    return found.get(name)


# --- group by group -------------------------------------------------------------------------------


def _by_group(block: Block, shorten: Shorten) -> Block:
    values = block.columns[0].to_list()
    left: list[Any] = []
    counts: list[int] = []
    start = 0
    for count in block.count_list():
        short = shorten(values[start : start + count])
        left += short
        counts.append(len(short))
        start += count
    return Block(block.keys, None if len(left) == len(counts) else counts, [pack(left)])


def _shortened(block: Block, name: str) -> Block:
    """Fold where a state is one of the values, or their sum."""
    column = block.columns[0]
    if block.counts is None or name == "list":
        return block
    if name == "first":
        return Block(block.keys, None, [column.take(starts_of(block))])
    if isinstance(column, ArrowColumn):
        folded = None
        if column.kind == "int" or column.kind == "float":
            folded = _shortened_numbers(block, column.numpy(), name)
        elif name == "set" and column.kind in ("str", "bytes"):
            folded = _distinct(block, _codes(column))
        if folded is not None:
            return folded
    values = column.to_list()
    types = set(map(type, values))
    shorten = _shortener(name, types)
    if shorten is None or (float in types and name.startswith("top") and _unequal(values)):
        return block
    try:
        return _by_group(block, shorten)
    except TypeError:
        return block  # not to be compared, or not hashable: the reducer says so


def _shortener(name: str, types: set[type]) -> Shorten | None:
    """Give what folds one group of values of these types; None if nothing does."""
    if name == "sum":
        return sum_left if types <= moments.REAL else None
    if name == "set":
        # Only plain values: others have user code that says what is equal.
        if types == {tuple}:
            return lambda values: list(dict.fromkeys(values)) if _total(values) else values
        if not types <= _ORDERED:
            return None
        return _once_each if float in types else lambda values: list(dict.fromkeys(values))
    if not (types <= moments.REAL or types in ({str}, {bytes}, {tuple})):
        return None
    if name in ("min", "max"):
        best = min if name == "min" else max
        if types == {tuple}:
            return lambda values: [best(values)] if _total(values) else values
        return (
            (lambda values: best_left(values, best))
            if float in types
            else (lambda values: [best(values)])
        )
    size = top_number(name)
    if types == {tuple}:
        return lambda values: heapq.nlargest(size, values) if _total(values) else values
    return lambda values: heapq.nlargest(size, values)


def sum_left(values: Sequence[Any]) -> list[Any]:
    """Shorten ints, bools and floats to few whose exact sum is the same; one value stays."""
    if len(values) == 1:
        return list(values)
    whole = [value for value in values if type(value) is not float]
    real = [value for value in values if type(value) is float] if len(whole) < len(values) else []
    return ([sum(whole)] if whole else []) + (moments.addends(real) if real else [])


def best_left(values: Sequence[Any], best: Callable[[Any], Any]) -> list[Any]:
    """Leave of floats what Python's ``min`` or ``max`` may take: NaN wins only if it is first."""
    ordered = [value for value in values if value == value]
    first = [value for value in values[:1] if value != value]
    return first + ([best(ordered)] if ordered else [])


def _once_each(values: Sequence[Any]) -> list[Any]:
    nans = [value for value in values if type(value) is float and value != value]
    if not nans:
        return list(dict.fromkeys(values))
    rest = (value for value in values if not (type(value) is float and value != value))
    return [*dict.fromkeys(rest), nans[0]]


def _total(values: Sequence[Any]) -> bool:
    """Say whether tuples have one order: plain parts, no NaN."""
    parts = list(chain.from_iterable(values))
    return set(map(type, parts)) <= _ORDERED and not _unequal(parts)


def _unequal(values: Sequence[Any]) -> bool:
    return True in map(ne, values, values)


# --- numpy ----------------------------------------------------------------------------------------


def _shortened_numbers(block: Block, values: Any, name: str) -> Block | None:
    """Fold typed numbers; None where numpy would not give exactly what Python does."""
    import numpy as np

    starts, counts = starts_of(block), block.count_array()
    real = values.dtype.kind == "f"
    shorten: Shorten
    if name == "sum" and real:
        parts, failed = arrays.sum_floats(values, starts, counts)
        table = np.stack(parts, 1)
        kept = table != 0
        kept[:, 0] = True
        shorten = sum_left
    elif name == "sum":
        sums, failed = arrays.sum_whole(values, starts)
        if failed.any():
            return None
        return Block(block.keys, None, [as_column(sums)])
    elif name in ("min", "max"):
        found, failed = arrays.best(values, starts, name == "max")
        table, kept = found.reshape(-1, 1), np.ones((len(found), 1), bool)
        best = min if name == "min" else max

        def shorten(some: list[Any]) -> list[Any]:
            return best_left(some, best)

    elif name == "set":
        return None if real and not (np.abs(values) > 0).all() else _distinct(block, values)
    else:
        return None if real and not (np.abs(values) > 0).all() else _top(block, values, name)
    left = kept.sum(1)
    if not failed.any():
        ones = int(left.max()) == 1
        return Block(block.keys, None if ones else left, [as_column(table[kept])])
    # A few groups are Python's.
    by_python = {place: shorten(some) for place, some in values_of(block, failed)}
    kept[failed] = False
    left[list(by_python)] = list(map(len, by_python.values()))
    ends = left.cumsum()
    out = np.empty(int(ends[-1]))
    from_table = np.repeat(~failed, left)
    out[from_table] = table[kept]
    for place, some in by_python.items():
        out[ends[place] - len(some) : ends[place]] = some
    return Block(block.keys, left, [as_column(out)])


def _codes(column: ArrowColumn) -> Any:
    """Number the values of a column of text or bytes, equal ones alike."""
    import numpy as np

    from mrkernel.shuffle.order import group

    order, starts = group(column)
    codes = np.empty(len(order), np.int64)
    codes[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
    return codes


def _distinct(block: Block, codes: Any) -> Block:
    """Keep the first of equal values in each group."""
    import numpy as np

    counts = block.count_array()
    groups = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((codes, groups))
    new = np.ones(len(order), bool)
    sorted_codes, sorted_groups = codes[order], groups[order]
    new[1:] = (sorted_codes[1:] != sorted_codes[:-1]) | (sorted_groups[1:] != sorted_groups[:-1])
    kept = np.sort(order[new])
    left = np.bincount(groups[kept], minlength=len(counts))
    return Block(block.keys, left, [block.columns[0].take(kept)])


def _top(block: Block, values: Any, name: str) -> Block:
    """Keep the largest numbers of each group, largest first."""
    import numpy as np

    counts = block.count_array()
    size = top_number(name)
    if len(values) > 64 * len(counts):  # sorting short stretches is faster than two keys
        ends = counts.cumsum()
        stretches = zip((ends - counts).tolist(), ends.tolist(), strict=True)
        best = [np.sort(values[start:end])[::-1][:size] for start, end in stretches]
        return Block(block.keys, np.minimum(counts, size), [as_column(np.concatenate(best))])
    groups = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((values, groups))[::-1]
    # Backwards: the last group comes first, and in each group its largest.
    ends = len(order) - counts.cumsum()
    rank = np.arange(len(order)) - np.repeat(ends[::-1], counts[::-1])
    kept = order[rank < size]
    kept = kept[np.argsort(groups[kept], kind="stable")]
    return Block(block.keys, np.minimum(counts, size), [block.columns[0].take(kept)])
