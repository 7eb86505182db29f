"""The line writer: what a program gives back for a partition, as it gave it. Pure.

Most reducers write a line for each key that they read, and so in the order of keys. Where all keys
of a part ascend it is a sorted part like those of functions, and parts can be merged; where one
does not, nothing is known of any order, and parts come one after the other.
"""

from __future__ import annotations

from pathlib import Path

from mrkernel.data.arrays import as_numpy
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn, Column
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.run import RunIndex, RunWriter


class LineWriter:
    """Writes keys and rests of lines.

    Args:
        path: the file; made at the first line.
        inline: a part up to so many bytes makes no file; it is ``data`` after ``close``.
    """

    def __init__(self, path: Path | str, *, inline: int = 0) -> None:
        self._writer = RunWriter(path, 1, inline=inline)
        self._held: Block | None = None  # its last key may go on

    @property
    def data(self) -> bytes | None:
        """All of a part that made no file, once it is closed; None otherwise."""
        return self._writer.data

    def add(self, keys: ArrowColumn, rests: Column) -> None:
        """Add lines.

        Args:
            keys: of kind "bytes".
        """
        if not len(keys):
            return
        block = self._grouped(keys, rests) if self._writer.sorted else None
        held = self._held
        if block is not None and held is not None:
            last, first = held.keys.at(held.groups - 1), keys.at(0)
            held.continues = first == last
            if first < last:
                block = None
        if block is None:
            self._writer.sorted = False
            block = Block(KeyColumn("bytes", keys), None, [rests])
        self._write_held()
        self._held = block

    def close(self) -> RunIndex:
        """Write what is left, and the index."""
        self._write_held()
        return self._writer.close()

    def abort(self) -> None:
        """Close and remove the file."""
        self._writer.abort()

    def _write_held(self) -> None:
        if self._held is not None:
            self._writer.write_block(0, self._held)
            self._held = None

    @staticmethod
    def _grouped(keys: ArrowColumn, rests: Column) -> Block | None:
        """Make a block of distinct keys; None if they do not ascend."""
        import numpy as np
        import pyarrow.compute as pc

        size = len(keys)
        before, after = keys.array.slice(0, size - 1), keys.array.slice(1)
        if pc.any(pc.greater(before, after)).as_py():
            return None
        new = pc.indices_nonzero(pc.not_equal(before, after))
        if len(new) == size - 1:
            return Block(KeyColumn("bytes", keys), None, [rests])
        starts = np.zeros(len(new) + 1, np.int64)
        starts[1:] = as_numpy(new, "<u8")
        starts[1:] += 1
        counts = np.diff(starts, append=size)
        return Block(KeyColumn("bytes", keys.take(starts)), counts, [rests])
