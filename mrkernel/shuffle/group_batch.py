"""Group batches: some groups of a partition, for the reducer or a built-in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import Column
from mrkernel.shuffle.fold_block import finish_block
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.values import OpenGroups, SpilledValues, Values


class GroupBatch:
    """Some groups, by key. Iterate it for (key, `Values`), or take its lists.

    Attributes:
        keys: one per group.
        counts: values per group; None means one each.
    """

    __slots__ = ("_items", "counts", "keys")

    def __init__(
        self, keys: KeyColumn, counts: Sequence[int] | Any | None, items: Column | SpilledValues
    ) -> None:
        self.keys = keys
        self.counts = counts
        self._items = items

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"<GroupBatch of {len(self.keys)} groups, {len(self._items)} values>"

    @property
    def spilled(self) -> bool:
        """Whether this is one group, too large for memory: `value_list` would load it."""
        return isinstance(self._items, SpilledValues)

    @property
    def pairs(self) -> int:
        """Number of values."""
        return len(self._items)

    def folded(self, name: str) -> Block | None:
        """Reduce all groups at once by a built-in; None where only Python has its results.

        Args:
            name: the built-in whose states the values are (see `fold_block`).
        """
        if isinstance(self._items, SpilledValues):
            return None
        return finish_block(Block(self.keys, self.counts, [self._items]), name)

    def key_list(self) -> list[Any]:
        """Give the keys."""
        return self.keys.to_list()

    def count_list(self) -> list[int]:
        """Give the number of values of each key."""
        if self.counts is None:
            return [1] * len(self.keys)
        return self.counts if isinstance(self.counts, list) else list(map(int, self.counts))

    def value_list(self) -> list[Any]:
        """Give the values of all groups, one after the other."""
        if isinstance(self._items, SpilledValues):
            return list(self._items)
        return self._items.to_list()

    def pieces(self, pairs: int = 4096) -> Iterator[GroupBatch]:
        """Cut into batches of about so many pairs, whose objects fit in the processor's cache."""
        if isinstance(self._items, SpilledValues) or self.pairs <= 2 * pairs:
            yield self
            return
        if self.counts is None:
            cuts = [*range(0, len(self), pairs), len(self)]
            for start, stop in pairwise(cuts):
                yield GroupBatch(self.keys.slice(start, stop), None, self._items.slice(start, stop))
            return
        counts = self.count_list()
        ends = list(accumulate(counts))
        group = begun = 0
        while group < len(counts):
            stop = max(group + 1, bisect_right(ends, begun + pairs))
            yield GroupBatch(
                self.keys.slice(group, stop),
                counts[group:stop],
                self._items.slice(begun, ends[stop - 1]),
            )
            group, begun = stop, ends[stop - 1]

    def opened(self) -> OpenGroups:
        """Give all groups at once; not for one that is `spilled`."""
        every = self.value_list()
        if self.counts is None:
            return OpenGroups(self.key_list(), [[value] for value in every])
        ends = list(accumulate(self.count_list()))
        return OpenGroups(
            self.key_list(), list(map(every.__getitem__, map(slice, [0, *ends], ends)))
        )

    def __iter__(self) -> Iterator[tuple[Any, Values]]:
        """Iterate (key, values); the values are closed when the next group is asked for."""
        keys = self.keys.to_list()
        if isinstance(self._items, SpilledValues):
            values = Values(self._items)
            try:
                yield keys[0], values
            finally:
                values.close()
            return
        every = self._items.to_list()
        start = 0
        for key, stop in zip(keys, accumulate(self.count_list()), strict=True):
            values = Values(every[start:stop])
            try:
                yield key, values
            finally:
                values.close()
            start = stop
