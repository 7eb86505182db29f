"""Lines of programs as pairs, and pairs as lines again: by the block, never line by line. Pure."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any

from mrkernel.data.lines import LINE_FORMATS, Cells
from mrkernel.data.manifest import PLAIN
from mrkernel.job.program import Cut
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ArrowColumn, Column, from_lengths
from mrkernel.shuffle.dict_column import DictColumn, encode_repeats
from mrkernel.shuffle.rest_column import RestColumn

_LINE_END = 0x0A
_TEXT = LINE_FORMATS[PLAIN](("key", "value"))
#: Rests that are looked at for repeats before all are.
_SAMPLE = 512


def cut_lines(text: bytes | bytearray, cut: Cut) -> tuple[ArrowColumn, RestColumn]:
    """Cut whole lines into keys and rests.

    Args:
        text: ends with a line end, and is not changed afterwards.
    """
    import numpy as np

    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == _LINE_END)
    ends += 1
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1]
    keys, rests = cut_fields(data, starts, ends, cut.separator, cut.fields, cut.joiner)
    sample = rests.slice(0, min(len(ends), _SAMPLE))
    if isinstance(encode_repeats(sample), DictColumn):
        rests = encode_repeats(rests)
    return keys, RestColumn(rests)


def cut_fields(
    data: Any, starts: Any, ends: Any, separator: int, fields: int, joiner: int | None = None
) -> tuple[ArrowColumn, Column]:
    """Cut texts, one right after the other, before the separator that ends so many fields.

    Args:
        data: a numpy array of bytes.
        starts, ends: of each text; the last byte of one with a line end is no field's.
        joiner: what to put in the separator's place; None: nothing.

    Returns:
        What is before it (all of a text with fewer fields, but for its line end), and the rest.
    """
    import numpy as np
    import pyarrow as pa

    marks = np.flatnonzero(data == separator)
    limits = ends
    if joiner is not None:
        limits = ends - 1  # where the line end is
    stops = limits
    one_each = len(marks) == len(ends) and fields == 1
    if one_each and (marks < limits).all() and (marks >= starts).all():
        stops = marks  # one separator in each line, as most mappers write them
    elif len(marks):
        places = np.searchsorted(marks, starts)
        places += fields - 1
        found = marks[np.minimum(places, len(marks) - 1)]
        stops = np.where((places < len(marks)) & (found < limits), found, limits)
    if joiner not in (None, separator):
        data = data.copy()
        data[stops[stops < limits]] = joiner
    size = len(ends)
    offsets = np.zeros(2 * size + 1, np.int64)
    offsets[1::2] = stops
    offsets[2::2] = ends
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    both = ArrowColumn(pa.Array.from_buffers(pa.large_binary(), 2 * size, buffers), "bytes")
    places = np.arange(0, 2 * size, 2)
    before = both.take(places)
    places += 1
    return before, both.take(places)


def whole_lines(block: Block) -> memoryview | None:
    """Put the lines of a block together again, pair after pair; None: it has others than lines."""
    rests, keys = block.columns[-1], block.keys
    if not isinstance(rests, RestColumn) or keys.kind != "bytes" or len(block.columns) > 1:
        return None
    inner, before = rests.rests, keys.column
    if isinstance(inner, DictColumn):
        inner = inner.plain()
    if not isinstance(before, ArrowColumn) or not isinstance(inner, ArrowColumn):
        names, after = before.to_list(), inner.to_list()
        if block.counts is not None:
            names = list(chain.from_iterable(map(repeat, names, block.count_list())))
        return memoryview(b"".join(chain.from_iterable(zip(names, after, strict=True))))
    import numpy as np
    import pyarrow.compute as pc

    if block.counts is not None:
        before = before.take(np.repeat(np.arange(block.groups), block.count_array()))
    nothing = from_lengths(np.zeros(1, np.int64), b"", "bytes").array[0]
    joined = ArrowColumn(pc.binary_join_element_wise(before.array, inner.array, nothing), "bytes")
    offsets, data = joined.buffers()
    return memoryview(data)[int(offsets[0]) : int(offsets[-1])]


def block_lines(block: Block) -> bytes | memoryview:
    """Render the pairs of a block as text: as a program wrote them, or ``key TAB value``."""
    lines = whole_lines(block)
    return _TEXT.rows(pair_cells(block)) if lines is None else lines


def pair_cells(block: Block) -> tuple[Cells, Cells]:
    """Give the keys and the values of a block of a result part, as many of each."""
    if len(block.columns) == 2:
        return _cells(block.columns[0]), _cells(block.columns[1])
    values = _cells(block.columns[0])
    if block.keys.kind == "encoded":
        keys: Cells = block.keys.to_list()
    else:
        keys = _cells(block.keys.column)
    if block.counts is None:
        return keys, values
    if isinstance(keys, list):
        return list(chain.from_iterable(map(repeat, keys, block.count_list()))), values
    import numpy as np

    places = np.repeat(np.arange(block.groups), block.count_array())
    return ArrowColumn(keys, block.keys.kind).take(places).array, values


def _cells(column: Column) -> Cells:
    if isinstance(column, DictColumn):
        column = column.plain()
    return column.array if isinstance(column, ArrowColumn) else column.to_list()
