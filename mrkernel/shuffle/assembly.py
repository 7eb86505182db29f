"""Assembly: columns from the bytes they were dumped to, and from other columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from mrkernel.shuffle import pickling
from mrkernel.shuffle.columns import (
    HEAD,
    ArrowColumn,
    Column,
    ListColumn,
    from_lengths,
    primitive,
    to_arrow,
    typed_from,
)
from mrkernel.shuffle.dict_column import DictColumn, join_dicts, load_codes
from mrkernel.shuffle.rest_column import RestColumn
from mrkernel.shuffle.tuple_column import TupleColumn, load_places


def concat(columns: Sequence[Column]) -> Column:
    """Join columns; typed if one of them is and all are of its kind."""
    if len(columns) == 1:
        return columns[0]
    kinds = {column.kind for column in columns if len(column)}
    if len(kinds) != 1:
        return ListColumn(list(chain.from_iterable(column.to_list() for column in columns)))
    kind = kinds.pop()
    rests = [column.rests for column in columns if isinstance(column, RestColumn) and len(column)]
    if rests and len(rests) == sum(1 for column in columns if len(column)):
        return RestColumn(concat(rests))
    dicts = [column for column in columns if isinstance(column, DictColumn) and len(column)]
    if dicts and len(dicts) == sum(1 for column in columns if len(column)):
        return join_dicts(dicts)
    tuples = [column for column in columns if isinstance(column, TupleColumn) and len(column)]
    if tuples and len(tuples) == sum(1 for column in columns if len(column)):
        places = [column.places for column in tuples]
        if len(set(map(len, places))) == 1:
            return TupleColumn([concat(place) for place in zip(*places, strict=True)])
    if kind != "object":
        parts = _as_arrow([column for column in columns if len(column)], kind)
        if parts is not None:
            import pyarrow as pa

            return ArrowColumn(pa.concat_arrays([part.array for part in parts]), kind)
    values = list(chain.from_iterable(column.to_list() for column in columns))
    frozen = all(isinstance(column, ListColumn) and column.frozen for column in columns)
    return ListColumn(values, kind, frozen=frozen)


def load(buffer: bytes | memoryview) -> Column:
    """Read what ``Column.dump`` wrote; numbers without a copy where the buffer allows it."""
    tag, _, size = HEAD.unpack_from(buffer)
    body = memoryview(buffer)[HEAD.size :]
    if tag == b"L":
        return ListColumn(pickling.loads(body))
    if tag == b"T":
        return TupleColumn(list(map(load, load_places(body))))
    if tag == b"R":
        return RestColumn(load(body))
    if tag == b"D":
        words, codes = load_codes(body, size)
        return DictColumn(codes, load(words))
    import numpy as np

    if tag == b"I" or tag == b"F":
        kind = "int" if tag == b"I" else "float"
        return ArrowColumn(primitive(body, kind, size), kind)
    if tag == b"B":
        return ArrowColumn(primitive(body, "bool", size), "bool")
    kind = "str" if tag in b"Ss" else "bytes"
    width = 8 if tag in b"sy" else 4
    lengths = np.frombuffer(body, f"<u{width}", count=size)
    return from_lengths(lengths, body[size * width :], kind)


def _as_arrow(columns: Sequence[Column], kind: str) -> list[ArrowColumn] | None:
    """Type all columns of one kind if one is typed already or they are long; None if not."""
    if not any(isinstance(column, ArrowColumn | DictColumn) for column in columns):
        if sum(map(len, columns)) < typed_from():
            return None
        joined = list(chain.from_iterable(column.to_list() for column in columns))
        typed = to_arrow(joined, kind)
        return None if typed is None else [typed]
    parts = []
    for column in columns:
        if isinstance(column, DictColumn):
            column = column.plain()
        part = column if isinstance(column, ArrowColumn) else to_arrow(column.to_list(), kind)
        if part is None:
            return None
        parts.append(part)
    return parts
