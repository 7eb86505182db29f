"""Growing columns: values become parts of an Arrow array as they come, not all at the end. Pure.

So their objects are freed while they are in the processor's cache, and the next values use the same
memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mrkernel.shuffle import pickling
from mrkernel.shuffle.columns import (
    Column,
    ListColumn,
    encode_text,
    from_lengths,
    from_numbers,
    kind_of,
    pack,
    typed_from,
    weigh,
)
from mrkernel.shuffle.dict_column import encode_repeats
from mrkernel.shuffle.tuple_column import TupleColumn, width_of

#: After so many columns that had to become lists again they are lists from the start.
_MOST_MIXED = 4
#: Values that are looked at for repeats.
_SAMPLE = 256


class GrowingColumn:
    """One column as it grows: a list, or the parts of an Arrow array.

    Attributes:
        size: number of values.
        nbytes: in memory, estimated.
    """

    __slots__ = (
        "_frozen",
        "_kind",
        "_lengths",
        "_list",
        "_mixed",
        "_parts",
        "_places",
        "_sample",
        "nbytes",
        "size",
    )

    def __init__(self, mixed: int = 0) -> None:
        self.size = 0
        self.nbytes = 0
        self._kind = ""  # of the parts; "": a list
        self._list: list[Any] = []
        self._parts: list[Any] = []
        self._lengths: list[Any] = []
        self._places: list[GrowingColumn] = []  # of tuples
        self._frozen = True  # all objects so far
        self._mixed = mixed  # how often parts had to become a list again
        self._sample: Sequence[Any] = ()

    def successor(self) -> GrowingColumn:
        """Give an empty one that knows what kinds of values came."""
        return GrowingColumn(self._mixed)

    def add(self, values: Sequence[Any], kind: str) -> None:
        """Add values of a kind ("object": of several or other types)."""
        self.size += len(values)
        self._sample = values
        if self._kind:
            if (kind == self._kind or self._places) and self._add_part(values):
                return
            # Of another kind, or one does not fit: from here on they are Python objects.
            self._frozen = kind != "object" or pickling.is_frozen(values)
            self._list = [*self._typed().to_list(), *values]
            self._kind = ""
            self._mixed += 1
            self._parts, self._lengths, self._places = [], [], []
            self.nbytes = weigh(self._list)
            return
        if self._frozen and kind == "object":
            self._frozen = pickling.is_frozen(values)
        self._list.extend(values)
        # 27 ns a tuple instead of 205 with the usual 64; there are many slices (measured).
        self.nbytes += weigh(values, 16)
        if self.size >= typed_from() and self._mixed <= _MOST_MIXED:
            self._become_typed(values, kind)

    def _become_typed(self, values: Sequence[Any], kind: str) -> None:
        """Turn the list into parts, if all of it is like the values that came last."""
        width = width_of(values) if kind == "object" else 0
        if kind == "object" and not width:
            return
        if len(values) < self.size:
            alike = width_of(self._list) == width if width else kind_of(self._list) == kind
            if not alike:
                self._mixed += 1
                return
        self._kind, self.nbytes = "tuple" if width else kind, 0
        self._places = [GrowingColumn() for _ in range(width)]
        if self._add_part(self._list):
            self._list = []
        else:
            self._kind, self.nbytes = "", weigh(self._list)
            self._mixed += 1

    def build(self, *, repeats: bool = True) -> Column:
        """Make the column: typed if it is long and of one kind; of strings that repeat, by codes.

        Args:
            repeats: whether strings may become a `DictColumn`.
        """
        column = self._typed() if self._kind else pack(self._list)
        if isinstance(column, ListColumn) and column.kind == "object":
            column.frozen = self._frozen
        sample = self._sample[:_SAMPLE]
        if repeats and column.kind in ("str", "bytes") and 8 * len(set(sample)) <= len(sample):
            return encode_repeats(column)
        return column

    def _add_part(self, values: Sequence[Any]) -> bool:
        import numpy as np

        kind = self._kind
        size = len(values)
        if self._places:
            if width_of(values) != len(self._places):
                return False
            for place, items in zip(self._places, zip(*values, strict=True), strict=True):
                place.add(items, kind_of(items))
            self.nbytes = sum(place.nbytes for place in self._places)
            return True
        if kind == "str" or kind == "bytes":
            if kind == "str":
                try:
                    lengths, data = encode_text(values)
                except UnicodeEncodeError:
                    return False  # a lone surrogate
            else:
                lengths, data = np.fromiter(map(len, values), np.int64, size), b"".join(values)
            self._lengths.append(lengths)
            self._parts.append(data)
            self.nbytes += len(data) + 8 * size
            return True
        kinds = {"int": "<i8", "float": "<f8", "bool": "?"}
        try:
            part = np.fromiter(values, kinds[kind], size)
        except OverflowError:
            return False  # beyond 64 bits
        self._parts.append(part)
        self.nbytes += part.nbytes
        return True

    def _typed(self) -> Column:
        if self._places:
            return TupleColumn([place.build() for place in self._places])
        import numpy as np

        if self._lengths:
            return from_lengths(np.concatenate(self._lengths), b"".join(self._parts), self._kind)
        return from_numbers(np.concatenate(self._parts), self._kind)
