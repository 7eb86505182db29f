"""Rounds: sorted segments become one, whole batches of groups at a time, never pair by pair.

Each round takes from every segment all groups up to the lowest "last key" in sight, which no later
block can precede, and joins them by one sort (`grouping.join`). Ties keep the order of the
segments. A group that is longer than a block is passed on piece by piece.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from mrkernel.shuffle.block import Block
from mrkernel.shuffle.grouping import join
from mrkernel.shuffle.run import SegmentReader


def rounds(segments: Sequence[SegmentReader]) -> Iterator[Block]:
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


def _chained(pieces: Iterator[Block]) -> Iterator[Block]:
    """Mark all pieces of one group but the last as going on."""
    before = next(pieces)
    for piece in pieces:
        yield Block(before.keys, before.counts, before.columns, True)
        before = piece
    yield Block(before.keys, before.counts, before.columns, False)
