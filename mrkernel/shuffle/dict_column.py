"""Dict columns: strings that repeat, as the number of each in a list of the distinct ones. Pure."""

from __future__ import annotations

import struct
from itertools import chain
from typing import Any

from mrkernel.data.arrays import as_numpy
from mrkernel.shuffle.columns import HEAD, ArrowColumn, Column, ListColumn

_SIZES = struct.Struct("<QQ")  # bytes of a code, bytes of the words
#: A typed column is encoded where a word stands for so many values at least: below it, the list of
#: words costs what the codes save.
WORTH = 4


class DictColumn(Column):
    """Values of kind "str" or "bytes", few of them distinct.

    A value costs 4 bytes whatever its length, moves for 1 ns instead of 8 to 26, and becomes a
    Python object for 8 ns instead of 40: one object for all its equals, whose hash is computed once
    (measured: names of 10 bytes).

    Attributes:
        codes: a numpy array of int32, one number per value.
        words: the values that the numbers stand for; some may be unused, or there twice.
    """

    __slots__ = ("_objects", "codes", "words")

    def __init__(self, codes: Any, words: Column, objects: Any = None) -> None:
        self.codes = codes
        self.words = words
        self.kind = words.kind
        self._objects = objects  # the words as Python values: slices share them

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        return int(self.codes.nbytes) + self.words.nbytes

    def at(self, index: int) -> Any:
        return self.words.at(int(self.codes[index]))

    def to_list(self) -> list[Any]:
        return self._words()[self.codes].tolist()  # type: ignore[no-any-return]

    def _words(self) -> Any:
        import numpy as np

        if self._objects is None:
            self._objects = np.empty(len(self.words), object)
            self._objects[:] = self.words.to_list()
        return self._objects

    def slice(self, start: int, stop: int) -> DictColumn:
        return DictColumn(self.codes[start:stop], self.words, self._words())

    def take(self, order: Any) -> DictColumn:
        import numpy as np

        return DictColumn(self.codes[np.asarray(order, np.int64)], self.words)

    def plain(self) -> Column:
        """Give the same values, each by itself."""
        return self.words.take(self.codes)

    def dump(self) -> bytes:
        import numpy as np

        # A slice of a column uses few of its words.
        used = np.flatnonzero(np.bincount(self.codes, minlength=len(self.words)))
        words, codes = self.words, self.codes
        if WORTH * len(used) > len(codes):
            return self.plain().dump()
        if len(used) < len(words):
            numbers = np.zeros(len(words), np.int32)
            numbers[used] = np.arange(len(used), dtype=np.int32)
            words, codes = words.take(used), numbers[codes]
        width = 1 if len(words) <= 1 << 8 else 2 if len(words) <= 1 << 16 else 4
        known = words.dump()
        head = HEAD.pack(b"D", 0, len(codes)) + _SIZES.pack(width, len(known))
        return b"".join((head, known, codes.astype(f"<u{width}").tobytes()))


def load_codes(body: memoryview, size: int) -> tuple[memoryview, Any]:
    """Read what `DictColumn.dump` wrote after its head: (the dump of the words, the codes)."""
    import numpy as np

    width, length = _SIZES.unpack_from(body)
    start = _SIZES.size + length
    codes = np.frombuffer(body, f"<u{width}", size, start)
    return body[_SIZES.size : start], codes.astype(np.int32)


def encode_repeats(column: Column) -> Column:
    """Make a dict column of typed strings that repeat; others stay as they are."""
    if not isinstance(column, ArrowColumn) or column.kind not in ("str", "bytes"):
        return column
    encoded = column.array.dictionary_encode()
    if WORTH * len(encoded.dictionary) > len(column):
        return column
    return DictColumn(
        as_numpy(encoded.indices, "<i4"), ArrowColumn(encoded.dictionary, column.kind)
    )


def repeated(values: list[str] | list[bytes], counts: Any) -> DictColumn:
    """Make a column of each value so many times.

    Args:
        values: all of one type, str or bytes.
        counts: a numpy array of ints.
    """
    import numpy as np

    places: dict[Any, int] = {}
    numbers = [places.setdefault(value, len(places)) for value in values]
    codes = np.repeat(np.array(numbers, np.int32), counts)
    return DictColumn(codes, ListColumn(list(places)))


def join_dicts(columns: list[DictColumn]) -> DictColumn:
    """Join columns of one kind; each distinct word stays once."""
    import numpy as np

    if all(column.words is columns[0].words for column in columns):
        return DictColumn(np.concatenate([column.codes for column in columns]), columns[0].words)
    starts = np.cumsum([0, *(len(column.words) for column in columns[:-1])]).tolist()
    moved = [column.codes + start for column, start in zip(columns, starts, strict=True)]
    codes = np.concatenate(moved).astype(np.int32, copy=False)
    arrays = [column.words.array for column in columns if isinstance(column.words, ArrowColumn)]
    if len(arrays) == len(columns):
        import pyarrow as pa

        encoded = pa.concat_arrays(arrays).dictionary_encode()
        known: Column = ArrowColumn(encoded.dictionary, columns[0].kind)
        return DictColumn(as_numpy(encoded.indices, "<i4")[codes], known)
    places: dict[Any, int] = {}
    words = chain.from_iterable(column.words.to_list() for column in columns)
    numbers = [places.setdefault(word, len(places)) for word in words]
    return DictColumn(np.array(numbers, np.int32)[codes], ListColumn(list(places)))
