"""Folding the built-in combiners sum, min and max: as the pairs come, or block by block. Pure.

Where keys are few a dict that fits in the processor's cache is cheapest (`Fold`); where they are
many, columns, which are sorted anyway, and folded group by group (`fold_block`).

A fold must be invisible: the reducer's built-in, applied to what a fold leaves of a group, gives
exactly what it gives for all values (any number of map tasks, any order of tasks). So

* ints are summed exactly, whatever their size;
* of floats an exact expansion is left, two or three whose sum is exactly the sum of all
  (Shewchuk 1997, as in ``math.fsum``): rounded once, at the end, by the reducer;
* min and max fold only totally ordered values (not NaN);
* anything else is not folded, and the reducer gets all values.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Literal

from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn, pack, weigh

Pairs = Sequence[tuple[Any, Any]]

_first: Callable[[Any], Any] = itemgetter(0)
_second: Callable[[Any], Any] = itemgetter(1)
_WHOLE = frozenset({int, bool})
_REAL = _WHOLE | {float}
#: Bytes of a dict entry without its key.
_ENTRY = 130


class Fold:
    """A dict from key to what is left of its values so far."""

    def __init__(self) -> None:
        self._numbers: set[type] = set()  # types of the numbers in keys
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes in memory, estimated."""
        return self._nbytes

    def __len__(self) -> int:
        """Number of keys."""
        raise NotImplementedError

    def add(self, pairs: Pairs) -> bool:
        """Fold a batch; False (and nothing done) if its values or keys cannot be folded.

        Raises:
            KeyTypeError: a key is of a type that keys cannot have; has ``index``.
        """
        raise NotImplementedError

    def drain(self) -> tuple[list[Any], list[Any]]:
        """Give keys and values, a key as often as it has values left, and start anew."""
        raise NotImplementedError

    def _checked(self, pairs: Pairs) -> Sequence[Any] | None:
        """Check keys; None if Python's equality of keys would lose a spelling (1, 1.0, True)."""
        keys, leaves = _keys.check(list(map(_first, pairs)))
        numbers = self._numbers | (leaves & _keys.NUMBERS)
        if len(numbers) > 1:
            return None
        self._numbers = numbers
        return keys

    def _grown(self, table: dict[Any, Any], before: int) -> None:
        new = len(table) - before
        if new > 0:
            sample = list(islice(reversed(table), min(new, 32)))
            self._nbytes += new * _ENTRY + weigh(sample) * new // len(sample)


class SumFold(Fold):
    """Sums ints; bools count as ints, as in Python's ``sum``. Floats are left to `fold_block`."""

    def __init__(self) -> None:
        super().__init__()
        self._whole: dict[Any, int] = {}
        self._only_text = True  # all keys of _whole are exactly str

    def __len__(self) -> int:
        return len(self._whole)

    def add(self, pairs: Pairs) -> bool:
        types = set(map(type, map(_second, pairs)))
        return types <= _WHOLE and (self._add_text(pairs) or self._add_whole(pairs))

    def _add_text(self, pairs: Pairs) -> bool:
        """Fold first and look at the new keys afterwards: cheap where all keys are str.

        What is equal to a str key has its spelling, so only keys that were not there matter. An
        int sum can be taken back exactly.
        """
        if not self._only_text or type(pairs[0][0]) is not str:
            return False
        table = self._whole
        get, before = table.get, len(table)
        try:
            for key, value in pairs:
                table[key] = get(key, 0) + value
        except TypeError:
            _keys.check(list(map(_first, pairs)))  # an unhashable key: says which
            raise
        new = len(table) - before
        if not set(map(type, islice(reversed(table), new))) <= {str}:
            for key, value in pairs:
                table[key] -= value
            for _ in range(new):
                table.popitem()
            return False
        self._grown(table, before)
        return True

    def _add_whole(self, pairs: Pairs) -> bool:
        keys = self._checked(pairs)
        if keys is None:
            return False
        table = self._whole
        get, before = table.get, len(table)
        for key, value in zip(keys, map(_second, pairs), strict=True):
            table[key] = get(key, 0) + value
        self._only_text = self._only_text and set(map(type, keys)) == {str}
        self._grown(table, before)
        return True

    def drain(self) -> tuple[list[Any], list[Any]]:
        keys, values = list(self._whole), list(self._whole.values())
        self.__init__()  # type: ignore[misc]
        return keys, values


class BestFold(Fold):
    """Keeps the least or greatest value of each key: the first of equals, as Python does."""

    def __init__(self, greatest: bool) -> None:
        super().__init__()
        self._greatest = greatest
        self._best: dict[Any, Any] = {}
        self._types: frozenset[type] = frozenset()

    def __len__(self) -> int:
        return len(self._best)

    def add(self, pairs: Pairs) -> bool:
        types = set(map(type, map(_second, pairs))) | self._types
        if not (types <= _REAL or types == {str} or types == {bytes}):
            return False
        if float in types:
            values = list(map(_second, pairs))
            if True in map(operator.ne, values, values):
                return False  # what Python's min makes of NaN depends on its place
        keys = self._checked(pairs)
        if keys is None:
            return False
        self._types = frozenset(types)
        table = self._best
        get, before = table.get, len(table)
        if self._greatest:
            for key, value in zip(keys, map(_second, pairs), strict=True):
                best = get(key)
                if best is None or value > best:
                    table[key] = value
        else:
            for key, value in zip(keys, map(_second, pairs), strict=True):
                best = get(key)
                if best is None or value < best:
                    table[key] = value
        self._grown(table, before)
        return True

    def drain(self) -> tuple[list[Any], list[Any]]:
        keys, values = list(self._best), list(self._best.values())
        self.__init__(self._greatest)  # type: ignore[misc]
        return keys, values


def make_fold(name: Literal["sum", "min", "max"]) -> Fold:
    """Make the fold of a built-in combiner."""
    return SumFold() if name == "sum" else BestFold(name == "max")


def exact_sum(values: Sequence[float]) -> list[Any]:
    """Shorten numbers to few whose exact sum is the same.

    Args:
        values: ints, bools and floats; infinities and NaN may be among them.

    Returns:
        One int (if there was any) and the floats of an expansion; each infinity and NaN once, so
        that adding them up gives what it gave before. The list as it is where an intermediate sum
        is beyond the largest float.
    """
    whole = [value for value in values if type(value) is not float]
    real = [value for value in values if type(value) is float]
    short: list[Any] = [sum(whole)] if whole else []
    finite = [value for value in real if math.isfinite(value)]
    if len(finite) < len(real):
        strange = [value for value in real if not math.isfinite(value)]
        for special in (math.inf, -math.inf):
            if special in strange:
                short.append(special)
        if True in map(math.isnan, strange):
            short.append(math.nan)
    if real and not finite:
        return short
    try:
        parts = [math.fsum(finite)] if finite else []
        while parts and parts[-1]:
            finite.append(-parts[-1])
            parts.append(math.fsum(finite))
    except OverflowError:
        return list(values)
    if len(parts) > 1:
        parts.pop()  # the zero that ends the expansion
    return short + parts


def fold_block(block: Block, name: Literal["sum", "min", "max"]) -> Block:
    """Fold the values of each group of a block; as it is where they cannot be folded."""
    if block.counts is None:
        return block
    column = block.columns[0]
    if isinstance(column, ArrowColumn) and column.kind in ("int", "float"):
        folded = _fold_array(column, block.count_array(), name)
        if folded is not None:
            return Block(block.keys, None, [folded])
    values = column.to_list()
    types = set(map(type, values))
    ordered = types in ({str}, {bytes}) and name != "sum"
    if not (types <= _REAL or ordered):
        return block
    if name == "sum":
        shorten: Callable[[list[Any]], list[Any]] = exact_sum
    elif float in types and True in map(operator.ne, values, values):
        return block
    else:
        best = min if name == "min" else max

        def shorten(some: list[Any]) -> list[Any]:
            return [best(some)]

    left: list[Any] = []
    counts: list[int] = []
    start = 0
    for count in block.count_list():
        short = values[start : start + count]
        if count > 1:
            short = shorten(short)
        left += short
        counts.append(len(short))
        start += count
    return Block(block.keys, None if len(left) == len(counts) else counts, [pack(left)])


def _fold_array(column: ArrowColumn, counts: Any, name: str) -> ArrowColumn | None:
    """Fold typed numbers; None where numpy would not give exactly what Python does."""
    import numpy as np
    import pyarrow as pa

    values = column.numpy()
    starts = np.cumsum(counts) - counts
    if name == "sum":
        largest = max(abs(int(values.max())), abs(int(values.min()))) if column.kind == "int" else 0
        if column.kind == "float" or largest * int(counts.max()) >= 1 << 63:
            return None
        folded = np.add.reduceat(values, starts)
    else:
        # NaN, and which of 0.0 and -0.0 came first, are Python's business.
        if column.kind == "float" and not (np.abs(values) > 0).all():
            return None
        folded = (np.minimum if name == "min" else np.maximum).reduceat(values, starts)
    array = pa.Array.from_buffers(column.array.type, len(folded), [None, pa.py_buffer(folded)])
    return ArrowColumn(array, column.kind)
