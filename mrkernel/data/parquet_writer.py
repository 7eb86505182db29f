"""Rows as Parquet: the types of the columns, found from the values, and the file itself."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from mrkernel.data.rendering import render

#: Rows and bytes of a row group, about; the first is Arrow's own limit.
GROUP_ROWS, GROUP_BYTES = 1 << 20, 32 << 20


class UnfitColumnError(ValueError):
    """Parquet has no one type for a column.

    Attributes:
        column: its number.
        reason: why.
    """

    def __init__(self, column: int, reason: str) -> None:
        super().__init__(column, reason)
        self.column = column
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def to_arrays(columns: Sequence[Any]) -> list[Any]:
    """Make Arrow arrays of columns of cells (see ``data.lines``).

    Raises:
        UnfitColumnError: the cells of one have no type in common.
    """
    return [_to_array(number, column) for number, column in enumerate(columns)]


def joined_types(types: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Find types that hold both, column by column: a missing cell is of any type, and ints beside
    floats are floats where that loses nothing.

    Raises:
        UnfitColumnError: there is none.
    """
    return [_joined(number, *both) for number, both in enumerate(zip(types, others, strict=True))]


class ParquetWriter:
    """Writes rows of some named columns into a Parquet file.

    Args:
        file: anything with ``write``.
        names: of the columns.
        types: Arrow types, one per column; ``null`` where no cell has a value.
    """

    def __init__(self, file: Any, names: Sequence[str], types: Sequence[Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.types = [_stored(kind) for kind in types]
        self._schema = pa.schema(list(zip(names, self.types, strict=True)))
        self._writer = pq.ParquetWriter(pa.PythonFile(file, "w"), self._schema)
        self._waiting: list[Any] = []
        self._rows = self._nbytes = 0

    def add(self, arrays: Sequence[Any]) -> None:
        """Write rows, given as Arrow arrays.

        Raises:
            UnfitColumnError: a value does not fit in the type of its column.
        """
        import pyarrow as pa

        cast = [self._cast(number, array) for number, array in enumerate(arrays)]
        self._waiting.append(pa.RecordBatch.from_arrays(cast, schema=self._schema))
        self._rows += len(cast[0])
        self._nbytes += self._waiting[-1].nbytes
        if self._rows >= GROUP_ROWS or self._nbytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        """Let go of a file that nobody will read; pyarrow's own writer would close it later, by
        then into a closed file, and warn.
        """
        if self._writer.is_open:
            with contextlib.suppress(Exception):  # the disk that was full still is
                self._writer.close()
            self._writer.is_open = False

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._waiting, self._rows, self._nbytes = [], 0, 0

    def _cast(self, number: int, array: Any) -> Any:
        import pyarrow as pa

        try:
            return array if array.type == self.types[number] else array.cast(self.types[number])
        except pa.ArrowException as error:
            raise UnfitColumnError(number, str(error)) from None


def _to_array(number: int, cells: Any) -> Any:
    import pyarrow as pa

    if not isinstance(cells, list):
        return cells
    types = set(map(type, cells))
    if types & {set, frozenset}:
        cells = [sorted(c, key=render) if isinstance(c, (set, frozenset)) else c for c in cells]
    try:
        if {str, bytes} <= types:
            raise ValueError("some are str, some bytes")
        return pa.array(cells)
    except OverflowError:
        reason = "a whole number is beyond 64 bits"
    except UnicodeError:
        reason = "a text is no Unicode: it has lone surrogates"
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
    raise UnfitColumnError(number, reason)


def _joined(number: int, kind: Any, other: Any) -> Any:
    import pyarrow as pa

    kind, other = _stored(kind), _stored(other)
    if kind == other or pa.types.is_null(other):
        return kind
    if pa.types.is_null(kind):
        return other
    try:
        if {kind, other} == {pa.string(), pa.binary()}:
            raise pa.ArrowTypeError
        schemas = [pa.schema([("column", each)]) for each in (kind, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        raise UnfitColumnError(number, f"some are {kind}, some {other}") from None


def _stored(kind: Any) -> Any:
    """Text and bytes as everybody's readers have them; the large types are Arrow's own."""
    import pyarrow as pa

    return {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}.get(kind, kind)
