"""Parts: what a reduce task, or a map task without reducers, gives back; a run file of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from mrkernel.job.failure import UserCodeError
from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.block import Block, name_unpicklable
from mrkernel.shuffle.columns import Column, kind_of
from mrkernel.shuffle.growing import GrowingColumn
from mrkernel.shuffle.key_column import KeyColumn, concat_keys
from mrkernel.shuffle.run import RunIndex, RunWriter

_FLUSH_BYTES = 4 * 1024 * 1024
_first: Callable[[Any], Any] = itemgetter(0)
_second: Callable[[Any], Any] = itemgetter(1)


class PartWriter:
    """Writes the pairs of one reduce task, by reduce key, each group's in the order of yields.

    Where every pair has its group's key only the values are stored beside the keys.

    Args:
        path: the file; made at the first pair.
        inline: a part up to so many bytes makes no file; it is ``data`` after ``close``.
    """

    def __init__(self, path: Path | str, *, inline: int = 0) -> None:
        self._writer = RunWriter(path, 1, inline=inline)
        self._columns: list[KeyColumn] = []
        self._keys: list[Any] = []  # after those of the columns
        self._counts: list[int] = []
        self._out_keys = GrowingColumn()
        self._values = GrowingColumn()
        self._own_keys = False
        self.pairs = 0  #: written so far

    @property
    def data(self) -> bytes | None:
        """All of a part that made no file, once it is closed; None otherwise."""
        return self._writer.data

    def add_block(self, block: Block) -> None:
        """Add groups of one pair each, as columns; keys ascend and are above all before."""
        self._flush()
        self._writer.write_block(0, block)
        self.pairs += block.pairs

    def add(self, keys: KeyColumn, counts: Sequence[int], values: Sequence[Any]) -> None:
        """Add groups whose pairs all have the group's key.

        Args:
            keys: ascending and above all before.
            counts: pairs per key; keys without any are left out.
            values: of all pairs, group after group.
        """
        if self._own_keys:
            self._flush()
        if 0 in counts:
            keys = keys.take([place for place, count in enumerate(counts) if count])
            counts = [count for count in counts if count]
        if not counts:
            return
        self._settle()
        self._columns.append(keys)
        self._counts.extend(counts)
        self._added(values)

    def add_group(self, key: Any, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Add what the reducer yielded for one key; nothing is stored if it yielded nothing."""
        if not pairs:
            return
        out_keys = [pair[0] for pair in pairs]
        own = not all(out is key or _identical(out, key) for out in out_keys)
        if own != self._own_keys:
            self._flush()
            self._own_keys = own
        self._keys.append(key)
        self._counts.append(len(pairs))
        if own:
            self._out_keys.add(out_keys, kind_of(out_keys))
        self._added([pair[1] for pair in pairs])

    def end_segment(self) -> None:
        """Say that the keys start again: what a reducer gives at its finish() has its own order."""
        self._flush()
        self._writer.end_segment()

    def close(self) -> RunIndex:
        """Write what is left, and the index."""
        self._flush()
        return self._writer.close()

    def abort(self) -> None:
        """Close and remove the file."""
        self._writer.abort()

    def _added(self, values: Sequence[Any]) -> None:
        self._values.add(values, kind_of(values))
        self.pairs += len(values)
        if self._values.nbytes > _FLUSH_BYTES or self._values.size > 200_000:
            self._flush()

    def _settle(self) -> None:
        if self._keys:
            self._columns.append(KeyColumn.of(self._keys))
            self._keys = []

    def _flush(self) -> None:
        self._settle()
        if self._columns:
            columns = [self._values.build()]
            if self._own_keys:
                columns.insert(0, self._out_keys.build())
            keys = concat_keys(self._columns)
            counts = None if len(keys) == len(columns[0]) else self._counts
            _write(self._writer, Block(keys, counts, columns))
        self._columns, self._counts = [], []
        self._out_keys, self._values = self._out_keys.successor(), self._values.successor()
        self._own_keys = False


def _write(writer: RunWriter, block: Block) -> None:
    try:
        writer.write_block(0, block)
    except UserCodeError as error:
        raise name_unpicklable(error, block) from error.__cause__


def _identical(out: Any, key: Any) -> bool:
    """Say whether nobody can tell them apart; floats (-0.0) and tuples of such are told apart."""
    return type(out) is type(key) and type(key) in (str, int, bytes, bool) and bool(out == key)


class PairWriter:
    """Writes the pairs of a map task without reducers, in the order of the yields.

    Args:
        path: the file; made at the first pair.
        inline: a part up to so many bytes makes no file; it is ``data`` after ``close``.
    """

    def __init__(self, path: Path | str, *, inline: int = 0) -> None:
        self._writer = RunWriter(path, 1, sorted=False, inline=inline)
        self._keys = GrowingColumn()
        self._values = GrowingColumn()
        self.pairs = 0  #: written so far

    @property
    def data(self) -> bytes | None:
        """All of a part that made no file, once it is closed; None otherwise."""
        return self._writer.data

    def add(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Add pairs.

        Raises:
            KeyTypeError: a key is of a type that keys cannot have; ``index`` is the pair's.
            UserCodeError: a value cannot be pickled.
        """
        if not pairs:
            return
        keys, _ = _keys.check(list(map(_first, pairs)))
        values = list(map(_second, pairs))
        self._keys.add(keys, kind_of(keys))
        self._values.add(values, kind_of(values))
        self.pairs += len(pairs)
        if self._keys.nbytes + self._values.nbytes > _FLUSH_BYTES:
            self._flush()

    def add_columns(self, keys: Column, values: Column) -> None:
        """Add pairs as two columns of equal length.

        Raises:
            KeyTypeError: a key is of a type that keys cannot have; ``index`` is the pair's.
            UserCodeError: a value cannot be pickled.
        """
        self._flush()
        if len(keys):
            _write(self._writer, Block(KeyColumn.of_column(keys), None, [values]))
            self.pairs += len(keys)

    def close(self) -> RunIndex:
        """Write what is left, and the index."""
        self._flush()
        return self._writer.close()

    def abort(self) -> None:
        """Close and remove the file."""
        self._writer.abort()

    def _flush(self) -> None:
        if self._keys.size:
            keys = KeyColumn.of_checked(self._keys.build(repeats=False))
            _write(self._writer, Block(keys, None, [self._values.build()]))
            self._keys, self._values = self._keys.successor(), self._values.successor()
