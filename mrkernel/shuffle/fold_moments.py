"""Mean and stats of typed columns in numpy: values to states, states to fewer, to results. Pure.

States are the structs of `job.moments`, as a column of bytes that numpy reads in place. Groups
that numpy would not fold exactly are left to Python, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from mrkernel.job import moments
from mrkernel.shuffle import fold_arrays as arrays
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn, from_lengths, pack
from mrkernel.shuffle.fold_groups import starts_of, values_of

#: Fields after the count of `moments.FLOATS` and the other structs.
_FLOATS, _WHOLES, _MEAN_FLOATS, _MEAN_WHOLES = "ddddddd", "qqqq", "ddd", "q"
#: Values folded at once. What is computed of them stays in the processor's cache, and is so small
#: that malloc does not give it back to the system, and fetch it again, at each step: 84 ns a pair
#: of a per-record stats job instead of 104 with four times as many.
_SLICE = 1 << 13


def fold_moments(block: Block, column: ArrowColumn, name: str) -> Block | None:
    """Fold typed numbers to states of one struct each; a few groups may be Python's."""
    import numpy as np

    if column.kind not in ("int", "float"):
        return None
    values, starts, counts = column.numpy(), starts_of(block), block.count_array()
    deep = name == "stats"
    if column.kind == "float":
        kinds = _FLOATS if deep else _MEAN_FLOATS
        take = _float_fields if deep else _mean_float_fields
    else:
        kinds = _WHOLES if deep else _MEAN_WHOLES
        take = _whole_fields if deep else _mean_whole_fields
    *fields, failed = _in_slices(take, values, starts, counts)
    states = _structs(counts, fields, kinds)
    if not failed.any():
        return Block(block.keys, None, [states])
    if 2 * int(np.count_nonzero(failed)) > len(counts):
        return None
    shorten: Callable[[Sequence[Any]], list[moments.State]] = (
        moments.stats_states if deep else moments.mean_states
    )
    every: list[Any] = [[state] for state in states.to_list()]
    for place, some in values_of(block, failed):
        every[place] = shorten(some)
    left = list(map(len, every))
    flat = list(chain.from_iterable(every))
    return Block(block.keys, None if len(flat) == len(left) else left, [pack(flat)])


def _in_slices(
    take: Callable[[Any, Any, Any], list[Any]], values: Any, starts: Any, counts: Any
) -> list[Any]:
    """Let ``take`` make arrays, one item to a group, of so many groups as fit in the cache."""
    import numpy as np

    if len(values) <= 2 * _SLICE:
        return take(values, starts, counts)
    cuts = np.unique(np.searchsorted(starts, np.arange(0, len(values), _SLICE)))
    cuts = cuts[cuts < len(starts)]
    ends = [*cuts[1:].tolist(), len(starts)]
    found = []
    for first, last in zip(cuts.tolist(), ends, strict=True):
        start = int(starts[first])
        stop = int(starts[last]) if last < len(starts) else len(values)
        found.append(take(values[start:stop], starts[first:last] - start, counts[first:last]))
    return [np.concatenate(each) for each in zip(*found, strict=True)]


def _mean_float_fields(values: Any, starts: Any, counts: Any) -> list[Any]:
    parts, failed = arrays.sum_floats(values, starts, counts)
    return [*parts, failed]


def _mean_whole_fields(values: Any, starts: Any, counts: Any) -> list[Any]:
    return list(arrays.sum_whole(values, starts))


def _whole_fields(values: Any, starts: Any, counts: Any) -> list[Any]:
    total, failed = arrays.sum_whole(values, starts)
    squares, inexact = arrays.squares_whole(values, starts, counts)
    low, _ = arrays.best(values, starts, False)
    high, _ = arrays.best(values, starts, True)
    return [low, high, total, squares, failed | inexact]


def _float_fields(values: Any, starts: Any, counts: Any) -> list[Any]:
    import numpy as np

    several = counts > 1
    if 4 * int(np.count_nonzero(several)) < len(counts):
        return _mostly_lone(values, starts, counts, several)
    parts, failed = arrays.sum_floats(values, starts, counts)
    low, unclear = arrays.best(values, starts, False)
    high, vague = arrays.best(values, starts, True)
    lead, rest, inexact = arrays.deviations(values, starts, counts, parts)
    return [low, high, *parts, lead, rest, failed | unclear | vague | inexact]


def _mostly_lone(values: Any, starts: Any, counts: Any, several: Any) -> list[Any]:
    """Make the fields of groups most of which have one value: it is all there is to say."""
    import numpy as np

    only = values[starts]
    nothing = np.zeros(len(only))
    strange = np.where(np.isfinite(only), 0.0, np.nan)
    fields = [only, only.copy(), only.copy(), nothing, nothing.copy(), strange, nothing.copy()]
    fields.append(np.zeros(len(only), bool))
    if several.any():
        each, counts = counts, counts[several]
        chosen = values[np.repeat(several, each)]
        found = _float_fields(chosen, counts.cumsum() - counts, counts)
        for field, some in zip(fields, found, strict=True):
            field[several] = some
    return fields


def _structs(count: Any, fields: Sequence[Any], kinds: str) -> ArrowColumn:
    import numpy as np

    data = arrays.as_struct(count, fields, kinds)
    return from_lengths(np.full(len(count), 8 + 8 * len(kinds), np.int64), data, "bytes")


def _fields(column: ArrowColumn) -> tuple[str, list[Any]] | None:
    """Read a column of structs of one kind: (kinds, fields); None if it is not."""
    found = _structs_of(column)
    return None if found is None else (found[0], arrays.of_struct(found[1], found[0]))


def counts_of(column: ArrowColumn) -> Any:
    """How many values each state stands for; None where they are not all of one kind."""
    import numpy as np

    found = _structs_of(column)
    return None if found is None else np.frombuffer(found[1], "<i8")[:: 1 + len(found[0])]


def _structs_of(column: ArrowColumn) -> tuple[str, Any] | None:
    """Give the kinds and the bytes of structs of one kind; None if they are not."""
    import numpy as np

    offsets, data = column.buffers()
    size = int(offsets[1] - offsets[0])
    kinds = {8 + 8 * len(each): each for each in (_FLOATS, _WHOLES, _MEAN_FLOATS, _MEAN_WHOLES)}
    if size not in kinds or not (np.diff(offsets) == size).all():
        return None
    return kinds[size], data[offsets[0] : offsets[-1]]


def join_states(block: Block, column: ArrowColumn) -> tuple[ArrowColumn, Any] | None:
    """Join the states of each group to one: (states, failed)."""
    import numpy as np

    read = _fields(column)
    if read is None:
        return None
    kinds, (count, *fields) = read
    starts = starts_of(block)
    counts = np.add.reduceat(count, starts)
    if kinds == _MEAN_WHOLES:
        total, failed = arrays.sum_whole(fields[0], starts)
        return _structs(counts, [total], kinds), failed
    if kinds == _MEAN_FLOATS:
        parts, failed = arrays.sum_threes(fields, starts, block.count_array())
        return _structs(counts, parts, kinds), failed
    low, unclear = arrays.best(fields[0], starts, False)
    high, vague = arrays.best(fields[1], starts, True)
    if kinds == _WHOLES:
        total, failed = arrays.sum_whole(fields[2], starts)
        squares, large = arrays.sum_whole(fields[3], starts)
        return _structs(counts, [low, high, total, squares], kinds), failed | large
    if not count.all():
        return None
    counts, parts, squares, failed = arrays.joined(count, fields[2:5], fields[5:], starts)
    failed = failed | unclear | vague
    return _structs(counts, [low, high, *parts, *squares], kinds), failed


def means_of(block: Block, column: ArrowColumn) -> tuple[Any, Any]:
    """Give the mean of each group, and which failed; (None, None) if states are not alike."""
    import numpy as np

    read = _fields(column)
    if read is None:
        return None, None
    kinds, (count, *fields) = read
    starts = starts_of(block)
    counts = np.add.reduceat(count, starts)
    if kinds == _MEAN_FLOATS:
        parts, failed = arrays.sum_threes(fields, starts, block.count_array())
        return arrays.rounded(parts) / counts, failed
    total, failed = arrays.sum_whole(fields[0], starts)
    # Python divides ints exactly, numpy by way of floats.
    return total / counts, failed | (np.abs(total) > 1 << 53)


def stats_of(block: Block, column: ArrowColumn) -> Block | None:
    """Give the stats of each group of states; None if they are not alike."""
    import numpy as np

    if block.counts is not None:
        merged = join_states(block, column)
        if merged is None:
            return None
        states, failed = merged
    else:
        states, failed = column, np.zeros(block.groups, bool)
    read = _fields(states)
    if read is None:
        return None
    kinds, (count, low, high, *fields) = read
    failed = failed | (count == 0)
    if kinds == _FLOATS:
        total = arrays.rounded(fields[:3])
        # Larger sums may be of addends that Python would not add up.
        failed |= ~(np.abs(total) < arrays.LARGE)
        std = arrays.roots(fields[3:], count - 1)
    else:
        total, squares = fields
        bound = np.maximum(np.abs(total.astype(np.float64)), count * squares.astype(np.float64))
        large = (np.abs(total) > 1 << 31) | (bound >= 2.0**53) | (count > 1 << 26)
        failed |= large
        with np.errstate(all="ignore"):
            exact = (count * squares - total * total).astype(np.float64)
        std = arrays.roots((exact, np.zeros(len(exact))), count * (count - 1))
    with np.errstate(all="ignore"):
        mean = total / count
    columns = (count, total, low, high, mean, std)
    results = [
        {
            "count": each,
            "sum": whole,
            "min": least,
            "max": greatest,
            "mean": average,
            "std": deviation if each > 1 else None,
        }
        for each, whole, least, greatest, average, deviation in zip(
            *(values.tolist() for values in columns), strict=True
        )
    ]
    for place, some in values_of(block, failed):
        results[place] = moments.stats_of(some)
    return Block(block.keys, None, [pack(results)])
