"""Columns: immutable sequences of Python values that come back identical in type and value. Pure.

A column is *typed* (Arrow) only if all its values have exactly one of the types ``str``,
``bytes``, ``int`` (within 64 bits), ``float`` and ``bool``; otherwise it is a Python list, pickled
as one block. Short columns stay lists whatever their type, so that a small job imports neither
pyarrow nor numpy.
"""

from __future__ import annotations

import operator
import struct
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from mrkernel.data.arrays import as_numpy, of_bits, of_lengths
from mrkernel.shuffle import pickling

#: Shorter columns stay Python lists: pickling them is as fast, and importing Arrow is not.
_TYPED_FROM = 4096
#: Where Arrow is there already, as in a runner, only these are cheaper as lists (measured: group-by
#: in 2,000 splits of 2,000 pairs).
_TYPED_FROM_WARM = 512

#: Exact type → kind. A column whose values are of no single one of these is of kind "object".
KINDS: dict[type, str] = {str: "str", bytes: "bytes", int: "int", float: "float", bool: "bool"}

HEAD = struct.Struct("<cxxxIQ")  #: of a dumped column: tag, unused, number of values
#: Types whose values all take about 32 bytes.
_FLAT = frozenset({int, float, bool, type(None)})
#: Kinds kept as 64-bit numbers, and the tags of their dumps.
NUMERIC = {"int": b"I", "float": b"F"}


class Column:
    """An immutable sequence of Python values.

    Attributes:
        kind: "str", "bytes", "int", "float" or "bool" if all values have exactly that type, else
            "object". An "int" list may hold numbers beyond 64 bits.
    """

    __slots__ = ("kind",)
    kind: str

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_list())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} {self.kind}>"

    @property
    def nbytes(self) -> int:
        """Bytes in memory; an estimate for lists."""
        raise NotImplementedError

    def at(self, index: int) -> Any:
        """Give the value at ``index`` (from 0)."""
        raise NotImplementedError

    def to_list(self) -> list[Any]:
        """Give the values as a list, which must not be changed."""
        raise NotImplementedError

    def slice(self, start: int, stop: int) -> Column:
        """Give the values from ``start`` up to ``stop``."""
        raise NotImplementedError

    def take(self, order: Any) -> Column:
        """Give the values at the positions ``order`` (a numpy array or a sequence of ints)."""
        raise NotImplementedError

    def dump(self) -> bytes:
        """Serialise for `load`.

        Raises:
            UserCodeError: a value cannot be pickled; names its type and index.
        """
        raise NotImplementedError


class ListColumn(Column):
    """Values as a Python list.

    Attributes:
        frozen: they are known to be `pickling.is_frozen`.
    """

    __slots__ = ("frozen", "values")

    def __init__(self, values: list[Any], kind: str | None = None, *, frozen: bool = False) -> None:
        self.values = values
        self.frozen = frozen
        self.kind = kind_of(values) if kind is None else kind

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        return weigh(self.values)

    def at(self, index: int) -> Any:
        return self.values[index]

    def to_list(self) -> list[Any]:
        return self.values

    def slice(self, start: int, stop: int) -> ListColumn:
        return ListColumn(self.values[start:stop], self.kind, frozen=self.frozen)

    def take(self, order: Any) -> ListColumn:
        places = order if isinstance(order, list) else order.tolist()
        if len(places) < 2:
            taken = [self.values[place] for place in places]
        else:
            taken = list(operator.itemgetter(*places)(self.values))
        return ListColumn(taken, self.kind, frozen=self.frozen)

    def dump(self) -> bytes:
        data = pickling.dumps(self.values, self.frozen)
        return HEAD.pack(b"L", 0, len(self.values)) + data


class ArrowColumn(Column):
    """Values as an Arrow array without nulls: large_string, large_binary, int64, float64, bool."""

    __slots__ = ("array",)

    def __init__(self, array: Any, kind: str) -> None:
        self.array = array
        self.kind = kind

    def __len__(self) -> int:
        return len(self.array)

    @property
    def nbytes(self) -> int:
        return int(self.array.nbytes)

    def at(self, index: int) -> Any:
        return self.array[index].as_py()

    def to_list(self) -> list[Any]:
        if self.kind in NUMERIC:
            return self.numpy().tolist()  # type: ignore[no-any-return]
        return self.array.to_pylist()  # type: ignore[no-any-return]

    def numpy(self) -> Any:
        """Give int and float values as a numpy array, without a copy."""
        return as_numpy(self.array, "<i8" if self.kind == "int" else "<f8")

    def buffers(self) -> tuple[Any, Any]:
        """Give str and bytes values as (offsets, data): int64, one more than values, and uint8."""
        import numpy as np

        _, offsets, data = self.array.buffers()
        start, size = self.array.offset, len(self.array)
        if offsets is None or not offsets.size:
            return np.zeros(1, np.int64), np.zeros(0, np.uint8)
        places = np.frombuffer(offsets, np.int64)[start : start + size + 1]
        if data is None:
            return places, np.zeros(0, np.uint8)
        return places, np.frombuffer(data, np.uint8)

    def binaries(self) -> list[bytes]:
        """Give str values as UTF-8, bytes values as they are."""
        if self.kind == "bytes":
            return self.array.to_pylist()  # type: ignore[no-any-return]
        import pyarrow as pa

        return self.array.cast(pa.large_binary()).to_pylist()  # type: ignore[no-any-return]

    def slice(self, start: int, stop: int) -> ArrowColumn:
        return ArrowColumn(self.array.slice(start, stop - start), self.kind)

    def take(self, order: Any) -> ArrowColumn:
        import numpy as np

        places = np.asarray(order, np.int64)
        return ArrowColumn(self.array.take(primitive(places, "int", len(places))), self.kind)

    def dump(self) -> bytes:
        import numpy as np

        size = len(self.array)
        if self.kind in NUMERIC:
            numbers: bytes = self.numpy().tobytes()
            return HEAD.pack(NUMERIC[self.kind], 0, size) + numbers
        if self.kind == "bool":
            bits = np.packbits(np.array(self.array.to_pylist(), bool), bitorder="little")
            return HEAD.pack(b"B", 0, size) + bits.tobytes()
        offsets, data = self.buffers()
        first, last = int(offsets[0]), int(offsets[-1])
        lengths = np.diff(offsets)
        # One value above 4 GiB would not fit; 8-byte lengths then, at no cost to all others.
        wide = bool(size and int(lengths.max()) >> 32)
        tag = (b"s" if wide else b"S") if self.kind == "str" else (b"y" if wide else b"Y")
        packed = lengths.astype("<u8" if wide else "<u4").tobytes()
        return b"".join((HEAD.pack(tag, 0, size), packed, data[first:last].tobytes()))


def typed_from() -> int:
    """Say how long a column must be to be typed in this process."""
    return _TYPED_FROM_WARM if "pyarrow" in sys.modules else _TYPED_FROM


def kind_of(values: Sequence[Any]) -> str:
    """Name the one exact type of all values, or "object"."""
    return one_kind(set(map(type, values)))


def one_kind(types: set[type]) -> str:
    """Name the one plain type, or "object"."""
    return KINDS.get(next(iter(types)), "object") if len(types) == 1 else "object"


def pack(values: list[Any], *, least: int | None = None) -> Column:
    """Make a column of values; typed if they are many and all of exactly one plain type.

    Args:
        values: not copied; must not be changed afterwards.
        least: shorter lists stay lists; None: by `typed_from`.
    """
    kind = kind_of(values)
    if kind != "object" and len(values) >= (typed_from() if least is None else least):
        return to_arrow(values, kind) or ListColumn(values, "object")
    return ListColumn(values, kind)


def to_arrow(values: list[Any], kind: str) -> ArrowColumn | None:
    """Type values all of exactly the type of ``kind``; None if one does not fit (a big int)."""
    import numpy as np

    size = len(values)
    try:
        if kind in NUMERIC:
            numbers = np.fromiter(values, "<i8" if kind == "int" else "<f8", size)
            return ArrowColumn(primitive(numbers, kind, size), kind)
        if kind == "bool":
            return ArrowColumn(of_bits(np.fromiter(values, bool, size)), kind)
        if kind == "str":
            return from_lengths(*encode_text(values))
    except (OverflowError, UnicodeEncodeError):
        return None  # beyond 64 bits, or a lone surrogate
    return from_lengths(np.fromiter(map(len, values), np.int64, size), b"".join(values), kind)


def to_column(values: Any) -> Column:
    """Make a column of a list, a numpy array of one dimension, or an Arrow array.

    Numbers keep their value and become Python's: an ``int32`` is an int, a ``float32`` a float.
    """
    if isinstance(values, list):
        return pack(values)
    if not hasattr(values, "dtype") or not hasattr(values, "ndim"):
        return from_arrow(values)
    import numpy as np

    if values.dtype.kind == "i":
        return from_numbers(np.ascontiguousarray(values, "<i8"), "int")
    if values.dtype.kind == "f" and values.dtype.itemsize <= 8:
        return from_numbers(np.ascontiguousarray(values, "<f8"), "float")
    return pack(values.tolist())


def encode_text(values: Sequence[str]) -> tuple[Any, bytes]:
    """Encode all texts at once: a third of the time of one by one, also where some are not ASCII.

    Returns: the bytes of each as an int64 array, and all of them as UTF-8.

    Raises:
        UnicodeEncodeError: a lone surrogate.
    """
    import numpy as np

    lengths = np.fromiter(map(len, values), np.int64, len(values))
    text = "".join(values)
    data = text.encode()
    if len(data) > len(text):
        # A text ends as many bytes later as there are bytes before that go on with a character.
        more = np.flatnonzero((np.frombuffer(data, np.uint8) & 0xC0) == 0x80)
        of_character = more - np.arange(1, len(more) + 1)
        ends = np.cumsum(lengths)
        lengths = np.diff(ends + np.searchsorted(of_character, ends), prepend=0)
    return lengths, data


def from_lengths(lengths: Any, data: Any, kind: str = "str") -> ArrowColumn:
    """Make a column of str (as UTF-8) or bytes from their lengths in bytes and their contents."""
    return ArrowColumn(of_lengths(lengths, data, _arrow_type(kind)), kind)


def from_numbers(numbers: Any, kind: str) -> ArrowColumn:
    """Make a column of a contiguous numpy array, which must not be changed.

    Args:
        numbers: int64, float64 or bool, as ``kind`` says.
    """
    if kind == "bool":
        return ArrowColumn(of_bits(numbers), kind)
    return ArrowColumn(primitive(numbers, kind, len(numbers)), kind)


def from_arrow(array: Any) -> Column:
    """Make a column of any Arrow array, without Python objects where it can be typed.

    Args:
        array: a ``pa.Array`` or ``pa.ChunkedArray``; not copied where it has the column's own
            layout.

    Returns:
        Strings, binaries, floats, bools and ints within 64 bits, none of them null, as a typed
        column; dictionaries by their values; all else (nulls, dates, decimals, structs, lists) as
        the Python values of ``to_pylist``.
    """
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        # Not dictionary_decode: a ChunkedArray has none.
        return from_arrow(array.cast(kind.value_type))
    name = _kind_of_arrow(kind)
    if name is None or array.null_count:
        return ListColumn(array.to_pylist())
    wanted = _arrow_type(name)
    if kind != wanted:
        try:
            array = array.cast(wanted)
        except pa.ArrowInvalid:  # an unsigned int beyond 63 bits
            return ListColumn(array.to_pylist())
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    return ArrowColumn(array, name)


def _kind_of_arrow(kind: Any) -> str | None:
    import pyarrow.types as types

    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "str"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return "bytes"
    if types.is_fixed_size_binary(kind):
        return "bytes"
    if types.is_integer(kind):
        return "int"
    if types.is_floating(kind):
        return "float"
    return "bool" if types.is_boolean(kind) else None


def weigh(values: Sequence[Any], samples: int = 64) -> int:
    """Estimate the bytes that a list of values takes in memory, from a sample."""
    size = len(values)
    if not size:
        return 0
    picked = values if size <= samples else values[:: size // samples]
    kinds = set(map(type, picked))
    if kinds <= _FLAT:
        return 40 * size
    if kinds <= {str, bytes}:
        try:
            # One in a thousand may be huge: their lengths are cheap to add up.
            return 57 * size + sum(map(len, values))
        except TypeError:
            pass  # something else among them that has no length: the sample must do
    return 8 * size + sum(_weigh(value, 4) for value in picked) * size // len(picked)


def _weigh(value: Any, depth: int) -> int:
    size = sys.getsizeof(value)
    if depth:
        inner: list[Any] = []
        if isinstance(value, dict):
            inner = list(chain.from_iterable(value.items()))
        elif isinstance(value, list | tuple | set | frozenset):
            inner = list(value)
        elif hasattr(value, "__dict__"):
            inner = list(vars(value).values())
        if inner:
            picked = inner if len(inner) <= 16 else inner[:: len(inner) // 16]
            size += sum(_weigh(item, depth - 1) for item in picked) * len(inner) // len(picked)
    return size


def _arrow_type(kind: str) -> Any:
    import pyarrow as pa

    return {
        "str": pa.large_string,
        "bytes": pa.large_binary,
        "int": pa.int64,
        "float": pa.float64,
        "bool": pa.bool_,
    }[kind]()


def primitive(body: Any, kind: str, size: int) -> Any:
    """Make an Arrow array of ``size`` values of a kind without lengths from their buffer."""
    import pyarrow as pa

    return pa.Array.from_buffers(_arrow_type(kind), size, [None, pa.py_buffer(body)])
