"""The keys of a map's output that stand out, for the picture of a running job.

A map names a few: those it gave out most often or, where a built-in folds to numbers that say so,
those with the largest (of ``min``: the smallest) value so far. Of a mean no value is told, only
how many it is of: the outermost means are those of keys that hardly came. It costs a look at one
number per key when a segment is written, less than a hundredth of what folding it took.
"""

from __future__ import annotations

from heapq import nlargest, nsmallest
from itertools import pairwise
from typing import Any

from mrkernel.job.builtins import told_by
from mrkernel.job.failure import short
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn
from mrkernel.shuffle.fold_groups import starts_of
from mrkernel.shuffle.fold_moments import counts_of

#: Keys that a map names.
NAMED = 16
#: Characters of a key, at most: it is to be read, and every view has it.
LONGEST = 60


class TopKeys:
    """Looks at what is written of a map's output.

    Args:
        fold: the built-in whose values are written; None: the pairs as the mapper gave them.
    """

    def __init__(self, fold: str | None) -> None:
        self._fold = fold
        self._kind = told_by(fold)
        self._numbers: dict[Any, float] = {}

    def add(self, block: Block) -> None:
        """Look at the groups of a partition's segment, no key of which is in another."""
        numbers = self._of(block)
        if numbers is None:
            return
        places: list[int]
        if isinstance(numbers, list):
            choose = nsmallest if self._kind == "min" else nlargest
            places = choose(NAMED, range(len(numbers)), key=numbers.__getitem__)
        else:
            import numpy as np

            order = numbers if self._kind == "min" else -numbers
            some = min(NAMED, len(order))
            places = np.argpartition(order, some - 1)[:some].tolist()
        for place in places:
            try:
                number = float(numbers[place])
            except OverflowError:
                continue  # an int past the floats: nothing to draw
            key = block.keys.slice(place, place + 1).to_list()[0]
            known = self._numbers.get(key)
            if known is None:
                self._numbers[key] = number
            elif self._kind == "min":
                self._numbers[key] = min(known, number)
            elif self._kind == "max":
                self._numbers[key] = max(known, number)
            else:
                self._numbers[key] = known + number

    def named(self) -> tuple[tuple[str, float], ...]:
        """Give the keys as text with their numbers, those that stand out most first."""
        choose = nsmallest if self._kind == "min" else nlargest
        found = choose(NAMED, self._numbers.items(), key=lambda row: row[1])
        return tuple((_text(key), number) for key, number in found)

    def _of(self, block: Block) -> Any:
        """Give a number for each group; None: nothing is known that tells them apart."""
        if self._fold is None:
            return block.counts  # where they do not repeat, none stands out
        column = block.columns[0]
        if isinstance(column, ArrowColumn):
            return self._of_typed(block, column)
        return self._of_list(block, column.to_list())

    def _of_list(self, block: Block, values: list[Any]) -> list[Any] | None:
        types = set(map(type, values))
        if self._fold in ("mean", "stats") and types == {bytes}:
            values = [int.from_bytes(state[:8], "little") for state in values]
        elif self._fold in ("first", "set") or not types <= {int, float}:
            return None
        if block.counts is None:
            return values
        # Several states of a group: addends of a float, the n largest, a NaN before the others.
        join = {"min": min, "max": max}.get(self._kind, sum)
        groups = pairwise([*starts_of(block), len(values)])
        try:
            return [join(values[start:stop]) for start, stop in groups]
        except OverflowError:
            return None  # an int past the floats, and a float

    def _of_typed(self, block: Block, column: ArrowColumn) -> Any:
        if self._fold in ("mean", "stats"):
            values = counts_of(column) if column.kind == "bytes" else None
        elif self._fold in ("first", "set") or column.kind not in ("int", "float"):
            values = None
        else:
            values = column.numpy()
        if values is None or block.counts is None:
            return values
        import numpy as np

        starts = starts_of(block)
        if self._kind == "min":
            return np.minimum.reduceat(values, starts)
        if self._kind == "max":
            return np.maximum.reduceat(values, starts)
        return np.add.reduceat(values.astype(np.float64), starts)


def _text(key: Any) -> str:
    text = key if isinstance(key, str) else short(key)
    text = text.encode("utf-8", "backslashreplace").decode()  # messages hold no lone surrogates
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
