"""Blocks: some groups of one partition as columns, the unit that is written, fetched and merged.

Layout, all numbers little-endian: version, flags, number of value columns, groups, pairs; the
length of each column; then the counts (absent when all are 1), the keys, their spelling (when
encoded) and the value columns, each starting at a multiple of 8.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise, repeat
from typing import Any

from mrkernel.job.failure import UserCodeError, short
from mrkernel.shuffle import pickling
from mrkernel.shuffle.assembly import load
from mrkernel.shuffle.columns import Column
from mrkernel.shuffle.key_column import KeyColumn

#: A block of the usual size: large enough for columns to pay, small enough to hold some hundred at
#: once, and for a round of a merge to stay in the cache.
BLOCK_BYTES = 128 * 1024

_HEAD = struct.Struct("<BBHIQ")  # version, flags, value columns, groups, pairs
_VERSION = 1
_ONES, _CONTINUES, _ENCODED = 1, 2, 4
_KINDS = ("str", "bytes", "int", "float", "encoded")


class Block:
    """Some groups: distinct keys in order, how many pairs each has, and the pairs' columns.

    Attributes:
        keys: one per group; distinct and ascending in a sorted run. In an unsorted one each pair is
            a group of its own, in the order of the yields.
        counts: pairs per group; None means 1 each. A list of ints or a numpy int64 array.
        columns: one or more, each with one value per pair, group after group.
        continues: the last group goes on in the next block of the segment.
    """

    __slots__ = ("columns", "continues", "counts", "keys")

    def __init__(
        self,
        keys: KeyColumn,
        counts: Sequence[int] | Any | None,
        columns: Sequence[Column],
        continues: bool = False,
    ) -> None:
        self.keys = keys
        self.counts = counts
        self.columns = tuple(columns)
        self.continues = continues

    def __repr__(self) -> str:
        return f"<Block of {self.groups} groups, {self.pairs} pairs>"

    @property
    def groups(self) -> int:
        """Number of keys."""
        return len(self.keys)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.columns[0])

    @property
    def nbytes(self) -> int:
        """Bytes in memory; an estimate."""
        return self.keys.nbytes + sum(column.nbytes for column in self.columns)

    def count_list(self) -> list[int]:
        """Give the counts as a list of ints."""
        if self.counts is None:
            return [1] * len(self.keys)
        return self.counts if isinstance(self.counts, list) else self.counts.tolist()  # type: ignore[union-attr]

    def count_array(self) -> Any:
        """Give the counts as a numpy array of int64."""
        import numpy as np

        if self.counts is None:
            return np.ones(len(self.keys), np.int64)
        return np.asarray(self.counts, np.int64)

    def dump(self) -> bytes:
        """Serialise for `load_block`.

        Raises:
            UserCodeError: a value cannot be pickled.
        """
        flags = _CONTINUES if self.continues else 0
        parts = []
        if self.counts is None:
            flags |= _ONES
        else:
            parts.append(_dump_counts(self.counts))
        parts.append(self.keys.column.dump())
        if self.keys.spelling is not None:
            flags |= _ENCODED
            parts.append(self.keys.spelling.dump())
        parts.extend(column.dump() for column in self.columns)
        flags |= _KINDS.index(self.keys.kind) << 4
        head = _HEAD.pack(_VERSION, flags, len(self.columns), self.groups, self.pairs)
        out = [head, struct.pack(f"<{len(parts)}Q", *map(len, parts))]
        for part in parts:
            out.append(part)
            out.append(bytes(-len(part) % 8))
        return b"".join(out)

    def cut(self, start: int, stop: int) -> Block:
        """Give the pairs from ``start`` up to ``stop``; ``continues`` if the last group is cut."""
        return next(self._slices([start, stop]))

    def split(self, target: int) -> Iterator[Block]:
        """Cut into blocks of about ``target`` bytes, in the middle of a group if need be."""
        pairs, size = self.pairs, self.nbytes
        pieces = min(pairs, round(size / target))
        if pieces <= 1:
            yield self
            return
        yield from self._slices([pairs * piece // pieces for piece in range(pieces + 1)])

    def _slices(self, cuts: Sequence[int]) -> Iterator[Block]:
        """Cut at the pairs ``cuts`` (ascending)."""
        if self.counts is None:
            for start, stop in pairwise(cuts):
                columns = [column.slice(start, stop) for column in self.columns]
                continues = self.continues and stop == self.pairs
                yield Block(self.keys.slice(start, stop), None, columns, continues)
            return
        counts: Any = self.counts
        if isinstance(counts, list):
            ends: Any = list(accumulate(counts))
            begins = [bisect_right(ends, cut) for cut in cuts[:-1]]
            finals = [bisect_left(ends, cut) for cut in cuts[1:]]
        else:
            # Never as Python ints: there may be a million groups.
            import numpy as np

            ends = np.cumsum(counts)
            begins = np.searchsorted(ends, cuts[:-1], "right").tolist()
            finals = np.searchsorted(ends, cuts[1:], "left").tolist()
        for (start, stop), first, last in zip(pairwise(cuts), begins, finals, strict=True):
            inside = counts[first : last + 1]
            before = start - int(ends[first] - counts[first])
            after = int(ends[last]) - stop
            if before or after:
                inside = inside.copy()
                inside[0] -= before
                inside[-1] -= after
            columns = [column.slice(start, stop) for column in self.columns]
            continues = after > 0 or (self.continues and stop == self.pairs)
            yield Block(self.keys.slice(first, last + 1), inside, columns, continues)


def load_block(buffer: bytes | memoryview) -> Block:
    """Read what `Block.dump` wrote; typed columns share the buffer.

    Raises:
        ValueError: the block was written by another version.
    """
    view = memoryview(buffer)
    version, flags, width, groups, _ = _HEAD.unpack_from(view)
    if version != _VERSION:
        raise ValueError(f"a block of version {version}; this mrkernel reads {_VERSION}")
    number = width + 1 + (not flags & _ONES) + bool(flags & _ENCODED)
    lengths = struct.unpack_from(f"<{number}Q", view, _HEAD.size)
    at = _HEAD.size + 8 * number
    parts = []
    for length in lengths:
        parts.append(view[at : at + length])
        at += length + -length % 8
    counts: Any = None
    if not flags & _ONES:
        counts = _load_counts(parts.pop(0), groups)
    column = load(parts.pop(0))
    spelling = load(parts.pop(0)) if flags & _ENCODED else None
    keys = KeyColumn(_KINDS[flags >> 4], column, spelling)
    return Block(keys, counts, [load(part) for part in parts], bool(flags & _CONTINUES))


def name_unpicklable(error: UserCodeError, block: Block) -> UserCodeError:
    """Name the key of a value that cannot be pickled: its index means nothing to the user."""
    import msgspec

    keys = block.keys.to_list()
    if block.counts is not None:
        keys = list(chain.from_iterable(map(repeat, keys, block.count_list())))
    for key, value in zip(keys, block.columns[-1].to_list(), strict=True):
        try:
            pickling.dumps([value])
        except UserCodeError as found:
            failure = found.failure
            where = f"the value of key {short(key)}"
            sentence = failure.sentence.replace("value 0", where, 1)
            return UserCodeError(msgspec.structs.replace(failure, sentence=sentence, where=where))
    return error


def _dump_counts(counts: Sequence[int] | Any) -> bytes:
    if isinstance(counts, list):
        return struct.pack(f"<{len(counts)}Q", *counts)
    return counts.astype("<u8").tobytes()  # type: ignore[union-attr,no-any-return]


def _load_counts(data: memoryview, groups: int) -> Any:
    if groups < 256:
        return list(struct.unpack(f"<{groups}Q", data))
    import numpy as np

    return np.frombuffer(data, "<i8")
