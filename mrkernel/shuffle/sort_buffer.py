"""The map side: collects pairs, groups and sorts them, and writes runs when memory is short. Pure.

Pairs wait as two lists; every so many become columns, which take a fraction of the memory. A flush
(a *spill*, or the end) joins equal keys with one sort over everything, deals the groups out to
partitions, and writes one segment per partition. Spills are not merged here: reduce merges them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Literal

from mrkernel.job.failure import UserCodeError
from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.block import Block, name_unpicklable
from mrkernel.shuffle.columns import Column, pack, weigh
from mrkernel.shuffle.fold import Fold, fold_block, make_fold
from mrkernel.shuffle.grouping import join, split_groups
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.partition import Partitioner, partitions_of
from mrkernel.shuffle.run import RunIndex, RunWriter

#: Combines one group's values on the map side; may be applied 0..n times.
Combine = Callable[[Any, Sequence[Any]], Sequence[Any]]

#: Pairs that wait as Python objects before they become columns.
_PACK_PAIRS = 1 << 16
#: A dict with more keys than this, and fewer pairs per key, is given up for columns.
_MANY_KEYS, _WORTH = 40_000, 3
_first: Callable[[Any], Any] = itemgetter(0)
_second: Callable[[Any], Any] = itemgetter(1)


class SortBuffer:
    """Collects the pairs of one map attempt.

    Args:
        partitions: number of reduce tasks, at least 1.
        writer: where runs go; closed by `close`.
        limit_bytes: spill beyond this; an estimate, and grouping needs some of it itself.
        partitioner: the user's ``f(key, partitions)``; None: the stable hash.
        combine: ``f(key, values) -> values``, applied to each group before it is written.
        fold: a built-in combiner that folds the pairs as they come.

    Attributes:
        pairs: how many were added.
        spills: how often memory was short.
    """

    def __init__(
        self,
        partitions: int,
        *,
        writer: RunWriter,
        limit_bytes: int,
        partitioner: Partitioner | None = None,
        combine: Combine | None = None,
        fold: Literal["sum", "min", "max"] | None = None,
    ) -> None:
        self.pairs = 0
        self.spills = 0
        self._partitions = partitions
        self._writer = writer
        # Joining holds the columns, their sorted copy and the orders: three times the columns.
        self._limit = max(1, limit_bytes // 3)
        self._partitioner = partitioner
        self._combine = combine
        self._fold: Fold | None = make_fold(fold) if fold is not None else None
        self._fold_name = fold
        self._folded = 0  # pairs in the fold
        self._keys: list[Any] = []
        self._values: list[Any] = []
        self._waiting_bytes = 0
        self._blocks: list[Block] = []
        self._block_bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes in memory, estimated."""
        folded = self._fold.nbytes if self._fold is not None else 0
        return self._waiting_bytes + self._block_bytes + folded

    def add(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Add a batch of 2-tuples, best some thousands at a time.

        Raises:
            KeyTypeError: a key is of a type that keys cannot have; ``index`` is the pair's.
            UserCodeError: on a spill: a value cannot be pickled, or user code failed.
        """
        if not pairs:
            return
        if self._fold is not None:
            if self._fold.add(pairs):
                self.pairs += len(pairs)
                self._folded += len(pairs)
                if len(self._fold) > _MANY_KEYS and self._folded < _WORTH * len(self._fold):
                    # The dict is out of the cache, at a miss per pair: columns are faster.
                    self._drain()
                    self._fold = None
                elif self._fold.nbytes > self._limit:
                    self.spill()
                    self._folded = 0
                return
            # From here on pairs are grouped: taking turns would change the order of values.
            self._drain()
            self._fold = None
        keys, _ = _keys.check(list(map(_first, pairs)))
        values = list(map(_second, pairs))
        self._append(keys, values)
        self.pairs += len(pairs)
        if self.nbytes > self._limit:
            self._pack()
            if self.nbytes > self._limit:
                self.spill()

    def spill(self) -> None:
        """Flush because memory is short."""
        self.spills += 1
        self.flush()

    def flush(self) -> None:
        """Write what has been collected: one segment more in each partition that has pairs.

        Raises:
            UserCodeError: a value cannot be pickled (names the key), or the user's partitioner or
                combiner failed.
        """
        self._drain()
        self._pack()
        blocks, self._blocks, self._block_bytes = self._blocks, [], 0
        if not blocks:
            return
        block = join(blocks)
        del blocks
        if self._fold_name is not None:
            block = fold_block(block, self._fold_name)
        parts: Any = [0] * block.groups
        if self._partitions > 1 or self._partitioner is not None:
            parts = partitions_of(block.keys, self._partitions, self._partitioner)
        for part, groups in split_groups(block, parts, self._partitions):
            left = groups if self._combine is None else combined(groups, self._combine)
            if left.pairs:
                self._write(part, left)
        self._writer.end_segment()

    def close(self) -> RunIndex:
        """Flush, and close the run."""
        self.flush()
        return self._writer.close()

    def _append(self, keys: Sequence[Any], values: list[Any]) -> None:
        self._keys.extend(keys)
        self._values.extend(values)
        self._waiting_bytes += weigh(keys) + weigh(values)
        if len(self._keys) >= _PACK_PAIRS:
            self._pack()

    def _drain(self) -> None:
        if self._fold is not None:
            keys, values = self._fold.drain()
            if keys:
                self._append(keys, values)

    def _pack(self) -> None:
        if not self._keys:
            return
        block = Block(KeyColumn.of(self._keys), None, [pack(self._values)])
        self._blocks.append(block)
        self._block_bytes += block.nbytes
        self._keys, self._values, self._waiting_bytes = [], [], 0

    def _write(self, part: int, block: Block) -> None:
        try:
            self._writer.write_block(part, block)
        except UserCodeError as error:
            raise name_unpicklable(error, block) from error.__cause__


def combined(block: Block, combine: Combine) -> Block:
    """Apply a combiner to each group; groups left without values vanish."""
    keys = block.keys.to_list()
    values = block.columns[0].to_list()
    kept: list[int] = []
    counts: list[int] = []
    results: list[Sequence[Any]] = []
    start = 0
    for place, (key, count) in enumerate(zip(keys, block.count_list(), strict=True)):
        result = combine(key, values[start : start + count])
        start += count
        if len(result):
            kept.append(place)
            counts.append(len(result))
            results.append(result)
    column: Column = pack(list(chain.from_iterable(results)))
    left = block.keys if len(kept) == len(keys) else block.keys.take(kept)
    return Block(left, None if len(column) == len(kept) else counts, [column])
