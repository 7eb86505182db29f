"""Merging sorted segments: whole batches of groups at a time, never pair by pair.

Each round takes from every segment all groups up to the lowest "last key" in sight, which no later
block can precede, and joins them by one sort (`grouping.join`). Ties keep the order of the
segments. A group that is longer than a block is passed on piece by piece.
"""

from __future__ import annotations

import shutil
import tempfile
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, repeat
from pathlib import Path
from typing import Any, Literal

from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn, Column, concat
from mrkernel.shuffle.fold import fold_block
from mrkernel.shuffle.grouping import join
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.run import RunWriter, SegmentReader, file_read, segment_readers
from mrkernel.shuffle.values import SpilledValues, Values

#: Values on disk take about so much less room than the same as Python objects.
_SWELL = 3


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

    def folded(self, name: Literal["sum", "min", "max"]) -> Block | None:
        """Apply a built-in to all groups at once, in numpy; None where only Python is exact."""
        column = self._items
        # A bool or a float alone in its group would stay as it is: sum([True]) is 1.
        if not (isinstance(column, ArrowColumn) and column.kind == "int"):
            return None
        block = fold_block(Block(self.keys, self.counts, [column]), name)
        return block if block.counts is None else None

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


def merge_groups(
    segments: Sequence[SegmentReader],
    *,
    fan_in: int = 64,
    scratch: Path | None = None,
    limit_bytes: int = 256 * 1024 * 1024,
) -> Iterator[GroupBatch]:
    """Merge the segments of one partition into batches of groups, by key.

    Args:
        segments: each sorted; values of one key come in this order. May be empty.
        fan_in: segments merged at once where their blocks do not fit in the budget together.
        scratch: directory for passes and for groups larger than memory; None: memory only.
        limit_bytes: budget for values in memory, about.

    Yields:
        Batches; each key is in exactly one of them. A batch ends when the next is asked for.

    Raises:
        CorruptRunError: a block fails its checksum; has ``path``, and ``offset`` in bytes.
    """
    folder = None if scratch is None else _Scratch(scratch)
    try:
        if folder is not None:
            segments = _in_passes(segments, fan_in, folder, limit_bytes)
        yield from _batches(_merge(segments), folder, limit_bytes)
    finally:
        if folder is not None:
            folder.close()


def merge_pairs(parts: Sequence[SegmentReader]) -> Iterator[tuple[Any, Any]]:
    """Merge result parts into pairs: by reduce key, then in the order of the yields.

    Args:
        parts: sorted ones (keys are the reduce keys) are merged; if one is not sorted (map-only
            output) they are read one after the other.

    Raises:
        CorruptRunError: a block fails its checksum.
    """
    merged = all(part.sorted for part in parts)
    blocks: Iterable[Block] = _merge(parts) if merged else chain.from_iterable(parts)
    for block in blocks:
        yield from block_pairs(block)


def block_pairs(block: Block) -> Iterator[tuple[Any, Any]]:
    """Iterate the pairs of a block of a result part: its own keys, or each group's key."""
    if len(block.columns) == 2:
        return zip(block.columns[0].to_list(), block.columns[1].to_list(), strict=True)
    keys: Iterable[Any] = block.keys.to_list()
    if block.counts is not None:
        keys = chain.from_iterable(map(repeat, keys, block.count_list()))
    return zip(keys, block.columns[0].to_list(), strict=True)


class _Scratch:
    """Names for temporary files, in a folder that is made when the first is needed."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folder: Path | None = None
        self._files = 0

    def path(self) -> Path:
        """Give a new name."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="merge-", dir=self._parent))
        self._files += 1
        return self._folder / str(self._files)

    def close(self) -> None:
        """Remove everything."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class _Held:
    """A block in memory, used up group by group from the front."""

    __slots__ = ("block", "ends", "front")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.front = 0
        #: Pairs up to the end of each group; None: as many as groups.
        self.ends: Sequence[int] | Any | None = None
        if isinstance(block.counts, list):
            self.ends = list(accumulate(block.counts))
        elif block.counts is not None:
            self.ends = block.count_array().cumsum()

    def pop(self, stop: int) -> Block:
        """Take the groups from the front up to ``stop``."""
        start, self.front = self.front, stop
        block = self.block
        if start == 0 and stop == block.groups:
            return block
        ends = self.ends
        if ends is None:
            first, last, counts = start, stop, None
        else:
            first = int(ends[start - 1]) if start else 0
            last = int(ends[stop - 1])
            counts = block.counts[start:stop]  # type: ignore[index]
        columns = [column.slice(first, last) for column in block.columns]
        continues = block.continues and stop == block.groups
        return Block(block.keys.slice(start, stop), counts, columns, continues)


class _Cursor:
    """What is left of one segment: some blocks in memory, the others not read yet."""

    __slots__ = ("_next", "_size", "held", "left", "reader")

    def __init__(self, reader: SegmentReader) -> None:
        self.reader = reader
        self.held: deque[_Held] = deque()
        self.left = 0  # groups in memory
        self._next = 0
        self._size = 0

    @property
    def done(self) -> bool:
        """Whether all blocks have been read."""
        return self._next == len(self.reader.blocks)

    @property
    def last(self) -> Any:
        """The last key in memory, as it is compared."""
        return self.held[-1].block.keys.at(self.held[-1].block.groups - 1)

    @property
    def continues(self) -> bool:
        """Whether the group of that key goes on in a block not read yet."""
        return self.held[-1].block.continues

    def fill(self, encoded: bool) -> None:
        """Read on, while less than half a block is left."""
        while not self.done and 2 * self.left <= self._size:
            self._load(encoded)

    def _load(self, encoded: bool) -> None:
        block = self.reader.block(self._next)
        self._next += 1
        if encoded:
            block.keys = block.keys.encoded()
        self.held.append(_Held(block))
        self.left += block.groups
        self._size = block.groups

    def encode(self) -> None:
        """Compare by encoded keys from now on."""
        for held in self.held:
            held.block.keys = held.block.keys.encoded()

    def take(self, frontier: Any, inclusive: bool) -> Iterator[Block]:
        """Take all groups up to ``frontier``; None takes everything."""
        bisect = bisect_right if inclusive else bisect_left
        while self.held:
            held = self.held[0]
            keys, stop = held.block.keys, held.block.groups
            if frontier is not None:
                stop = bisect(range(stop), frontier, held.front, stop, key=keys.at)
            if stop > held.front:
                self.left -= stop - held.front
                yield held.pop(stop)
            if stop < held.block.groups:
                return
            self.held.popleft()

    def take_group(self, key: Any, encoded: bool) -> Iterator[Block]:
        """Take the group of ``key``, which is at the front or absent, reading on as it goes on."""
        while True:
            if not self.held:
                if self.done:
                    return
                self._load(encoded)
            held = self.held[0]
            if held.block.keys.at(held.front) != key:
                return
            self.left -= 1
            piece = held.pop(held.front + 1)
            if held.front == held.block.groups:
                self.held.popleft()
            yield piece
            if not piece.continues:
                return


def _merge(segments: Sequence[SegmentReader]) -> Iterator[Block]:
    """Merge segments into blocks; one with ``continues`` is one group, and goes on in the next."""
    cursors = [_Cursor(reader) for reader in segments if reader.blocks]
    encoded = False
    while cursors:
        for cursor in cursors:
            cursor.fill(encoded)
        cursors = [cursor for cursor in cursors if cursor.held]
        if not encoded:
            kinds = {held.block.keys.kind for cursor in cursors for held in cursor.held}
            if len(kinds) > 1:
                encoded = True
                for cursor in cursors:
                    cursor.encode()
        if len(cursors) == 1 and not any(held.block.continues for held in cursors[0].held):
            # Nothing to merge with, and nothing to join: as it is.
            yield from cursors[0].take(None, True)
            continue
        unread = [cursor for cursor in cursors if not cursor.done]
        frontier, inclusive = None, True
        if unread:
            frontier = min(cursor.last for cursor in unread)
            inclusive = not any(cursor.continues and cursor.last == frontier for cursor in unread)
        taken = [block for cursor in cursors for block in cursor.take(frontier, inclusive)]
        if taken:
            block = join(taken) if len(taken) > 1 else taken[0]
            block.continues = False
            yield block
        elif frontier is not None:
            pieces = (piece for cursor in cursors for piece in cursor.take_group(frontier, encoded))
            yield from _chained(pieces)


def _chained(pieces: Iterator[Block]) -> Iterator[Block]:
    """Mark all pieces of one group but the last as going on."""
    before = next(pieces)
    for piece in pieces:
        yield Block(before.keys, before.counts, before.columns, True)
        before = piece
    yield Block(before.keys, before.counts, before.columns, False)


def _batches(
    blocks: Iterator[Block], scratch: _Scratch | None, limit_bytes: int
) -> Iterator[GroupBatch]:
    for block in blocks:
        if block.continues:
            yield from _long_group(block, blocks, scratch, limit_bytes)
        else:
            yield GroupBatch(block.keys, block.counts, block.columns[0])


def _long_group(
    piece: Block, blocks: Iterator[Block], scratch: _Scratch | None, limit_bytes: int
) -> Iterator[GroupBatch]:
    """Collect one group that comes in pieces, on disk if it is larger than the budget."""
    keys = [piece.keys]
    columns: list[Column] = [piece.columns[0]]
    size = columns[0].nbytes
    spilled: SpilledValues | None = None
    try:
        while piece.continues:
            piece = next(blocks)
            if piece.keys.kind != keys[-1].kind or piece.keys.kind == "encoded":
                keys.append(piece.keys)
            columns.append(piece.columns[0])
            size += columns[-1].nbytes
            if scratch is not None and size > limit_bytes // 4:
                if spilled is None:
                    spilled = SpilledValues(scratch.path())
                for column in columns:
                    spilled.append(column)
                columns, size = [], 0
        key = join([Block(each, None, [each.column]) for each in keys]).keys
        if spilled is None:
            joined = concat(columns)
            yield GroupBatch(key, [len(joined)], joined)
        else:
            for column in columns:
                spilled.append(column)
            yield GroupBatch(key, [len(spilled)], spilled)
    finally:
        if spilled is not None:
            spilled.close()


def _in_passes(
    segments: Sequence[SegmentReader],
    fan_in: int,
    scratch: _Scratch,
    limit_bytes: int,
) -> Sequence[SegmentReader]:
    """Merge neighbours into scratch runs until the blocks of all segments fit in the budget.

    Few enough small segments (10,000 with one group each) need no pass, however many they are.
    """
    fan_in = max(2, fan_in)
    while len(segments) > fan_in:
        sizes = [
            _SWELL * max((place.length for place in segment.blocks), default=0)
            for segment in segments
        ]
        if sum(sizes) <= limit_bytes // 2:
            break
        merged: list[SegmentReader] = []
        for start in range(0, len(segments), fan_in):
            some = segments[start : start + fan_in]
            if len(some) == 1:
                merged.extend(some)
                continue
            path = scratch.path()
            writer = RunWriter(path, 1)
            try:
                for block in _merge(some):
                    writer.write_block(0, block)
                index = writer.close()
            except BaseException:
                writer.abort()
                raise
            merged.extend(segment_readers(file_read(path), str(path), index, 0))
        segments = merged
    return segments
