"""Files as bytes: each whole, or in records of one size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

from mrkernel.data.batches import Batch, Key
from mrkernel.data.splits import FileSplit
from mrkernel.data.tables import table_of_items
from mrkernel.data.text_files import check_unchanged, open_file, read_at, weighed
from mrkernel.errors import InputError

WHOLE = "whole"
FIXED = "fixed"


class BytesBatch(Batch):
    """Records of one size, or a whole file; the key is (path, byte offset)."""

    __slots__ = ("_first", "_width", "path")

    def __init__(
        self, records: list[bytes], nbytes: int, path: str, first: int, width: int
    ) -> None:
        """``first`` is the place of the first record, ``width`` the bytes of each."""
        super().__init__(records, nbytes)
        self.path = path
        self._first = first
        self._width = width

    def anew(self, start: int, stop: int) -> list[Any]:
        return self.records[start:stop]

    def key(self, index: int) -> Key:
        return self.path, self._first + index * self._width

    def _all_keys(self) -> list[Key]:
        end = self._first + len(self.records) * self._width
        return list(zip(repeat(self.path), range(self._first, end, self._width), strict=False))

    def where(self, index: int) -> str:
        return f"{self.path}, byte {self.key(index)[1]}"

    def table(self) -> Any:
        """The records as a table of one column, ``record``."""
        return table_of_items(self.records, self.where(0), self.path, "record")


def is_binary(format: str) -> bool:
    """Whether records of this ``FileSplit.format`` are bytes."""
    return format == WHOLE or format.startswith(FIXED)


def record_size(format: str) -> int:
    """The bytes of a record of the format ``fixed:N``."""
    return int(format.partition(":")[2])


def check_size(split: FileSplit) -> None:
    """See that a file, not compressed, holds whole records.

    Raises: InputError: something is left over at its end.
    """
    _check_rest(split, split.size)


def _check_rest(split: FileSplit, size: int) -> None:
    width = record_size(split.format)
    if size % width:
        raise InputError(
            f"{split.path} has {size:,} bytes, and {size % width:,} are left over by records of "
            f"{width:,}: give the right --format fixed:N",
            split.path,
            size - size % width,
        )


def read_bytes(
    split: FileSplit, columns: tuple[str, ...] | None, *, block: int
) -> Iterator[BytesBatch]:
    """Read a file whole, or the records of one size that begin in a split.

    Args:
        columns: that the mapper reads, of which there are none.
        block: bytes to read at once, about.

    Raises: InputError: as ``open_split``.
    """
    if columns is not None:
        raise InputError(
            f"{split.path} is read as bytes, which have no columns: leave @mrkernel.reads out",
            split.path,
        )
    with open_file(split) as file:
        if split.format == WHOLE:
            data = file.read(-1)
            # An empty file is a record like any other, and weighs nothing.
            yield BytesBatch([data], weighed(file, len(data)), split.path, 0, max(1, len(data)))
        else:
            yield from _fixed(split, file, block)
        check_unchanged(split, file)


def _fixed(split: FileSplit, file: Any, block: int) -> Iterator[BytesBatch]:
    width = record_size(split.format)
    at = -(-split.start // width) * width
    while at < split.stop:
        most = max(1, block // width)
        wanted = min(most, -(-(split.stop - at) // width)) * width
        data = read_at(file, at, wanted)
        if len(data) < wanted:
            _check_rest(split, at + len(data))
        if not data:
            break
        records = [data[place : place + width] for place in range(0, len(data), width)]
        yield BytesBatch(records, weighed(file, len(data)), split.path, at, width)
        at += len(data)
