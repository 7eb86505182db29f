"""The keys of a map's output that stand out, for the picture of a running job.

A map names a few: those it gave out most often or, where a built-in folds, those with the largest
(of ``min``: the smallest) value so far. It costs a look at one number per key when a segment is
written, less than a hundredth of what folding it took.
"""

from __future__ import annotations

from heapq import nlargest, nsmallest
from typing import Any

from mrkernel.job.failure import short
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn

#: Keys that a map names.
NAMED = 16
#: Characters of a key, at most: it is to be read, and every view has it.
LONGEST = 60
#: Built-ins whose folded values say which keys stand out.
TELLING = ("count", "sum", "min", "max")


class TopKeys:
    """Looks at what is written of a map's output.

    Args:
        fold: the built-in whose values are written; None: the pairs as the mapper gave them.
    """

    def __init__(self, fold: str | None) -> None:
        self._fold = fold
        self._numbers: dict[Any, float] = {}

    def add(self, block: Block) -> None:
        """Look at the groups of a partition's segment, no key of which is in another."""
        numbers = self._of(block)
        if numbers is None:
            return
        choose = nsmallest if self._fold == "min" else nlargest
        places: list[int]
        if isinstance(numbers, list):
            places = choose(NAMED, range(len(numbers)), key=numbers.__getitem__)
        else:
            import numpy as np

            order = numbers if self._fold == "min" else -numbers
            some = min(NAMED, len(order))
            places = np.argpartition(order, some - 1)[:some].tolist()
        for place in places:
            key = block.keys.slice(place, place + 1).to_list()[0]
            number = float(numbers[place])
            known = self._numbers.get(key)
            if known is None:
                self._numbers[key] = number
            elif self._fold in ("min", "max"):
                self._numbers[key] = (min if self._fold == "min" else max)(known, number)
            else:
                self._numbers[key] = known + number

    def named(self) -> tuple[tuple[str, float], ...]:
        """Give the keys as text with their numbers, those that stand out most first."""
        choose = nsmallest if self._fold == "min" else nlargest
        found = choose(NAMED, self._numbers.items(), key=lambda row: row[1])
        return tuple((_text(key), number) for key, number in found)

    def _of(self, block: Block) -> Any:
        """Give a number for each group; None: nothing is known that tells them apart."""
        if self._fold is None:
            return block.counts  # where they do not repeat, none stands out
        column = block.columns[0]
        if self._fold not in TELLING or block.counts is not None:
            return None  # a sum of floats that is not one number yet
        if isinstance(column, ArrowColumn):
            return column.numpy() if column.kind in ("int", "float") else None
        values = column.to_list()
        return values if set(map(type, values)) <= {int, float} else None


def _text(key: Any) -> str:
    text = key if isinstance(key, str) else short(key)
    text = text.encode("utf-8", "backslashreplace").decode()  # messages hold no lone surrogates
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
