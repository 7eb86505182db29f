"""Rows as lines of text: text, csv and jsonl, many at once. Pure.

A column comes as a Python list, or as an Arrow array without nulls of type large_string,
large_binary, int64, double or bool. Columns that are Arrow already become lines without a Python
object per cell: Arrow writes the numbers and joins the cells. The bytes are those that
``data.rendering`` gives cell by cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mrkernel.data.arrays import as_numpy, of_bits, of_lengths
from mrkernel.data.rendering import quoted_json, render, render_csv, render_json

#: A column of cells: a list, or an Arrow array (see above).
Cells = Any

#: Found byte by byte, at the speed of memchr; a regular expression would take ten times as long.
_CSV_SPECIAL = (b'"', b",", b"\r", b"\n")
_JSON_SPECIAL = (b'"', b"\\")
_FIRST_PRINTABLE = 0x20
#: Between these Arrow writes a float as repr does, but for the ".0" of whole numbers.
_ALIKE_FROM, _ALIKE_TO = 1e-3, 1e10


class LineFormat:
    """How rows of some named columns become lines.

    Attributes:
        name: "text", "csv" or "jsonl".
        header: bytes at the beginning of each file.
    """

    name: str
    header = b""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def rows(self, columns: Sequence[Cells]) -> bytes | memoryview:
        """Render rows.

        Args:
            columns: one per name, of one length.

        Raises:
            UnfitCellError: the format cannot hold a cell.
        """
        size = len(columns[0])
        if not size:
            return b""
        between = self._between()
        if all(isinstance(column, list) for column in columns):
            texts = [self._each(number, column) for number, column in enumerate(columns)]
            row = b"%b".join(each.replace(b"%", b"%%") for each in between)
            return b"".join(map(row.__mod__, zip(*texts, strict=True)))
        arrays = []
        for number, column in enumerate(columns):
            if isinstance(column, list):
                arrays.append(_binary_array(self._each(number, column)))
            else:
                arrays.append(self._array(number, column))
        return _joined(arrays, between)

    def _between(self) -> list[bytes]:
        """What stands before, between and after the cells of a row."""
        raise NotImplementedError

    def _each(self, number: int, cells: list[Any]) -> list[bytes]:
        """Render the cells of column ``number`` one by one."""
        raise NotImplementedError

    def _array(self, number: int, cells: Any) -> Any:
        """Render a column that is an Arrow array, as one of binaries."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = cells.type
        if pa.types.is_int64(kind) or pa.types.is_boolean(kind):
            return pc.cast(cells, pa.large_string())
        texts = None
        if pa.types.is_float64(kind):
            texts = _float_texts(cells, partial(self._each, number))
        elif pa.types.is_large_string(kind):
            texts = self._strings(cells)
        elif pa.types.is_large_binary(kind):
            texts = self._binaries(cells)
        if texts is None:
            texts = _binary_array(self._each(number, cells.to_pylist()))
        return texts

    def _strings(self, cells: Any) -> Any | None:
        """Render an array of large_string; None: one by one."""
        raise NotImplementedError

    def _binaries(self, cells: Any) -> Any | None:
        """Render an array of large_binary; None: one by one."""
        return None


class UnfitCellError(ValueError):
    """A format cannot hold a cell.

    Attributes:
        column: number of the column.
        row: number of the row within the block.
        reason: why.
    """

    def __init__(self, column: int, row: int, reason: str) -> None:
        super().__init__(column, row, reason)
        self.column = column
        self.row = row
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class TextLines(LineFormat):
    """``key TAB value``."""

    name = "text"

    def _between(self) -> list[bytes]:
        return [b"", *[b"\t"] * (len(self.names) - 1), b"\n"]

    def _each(self, number: int, cells: list[Any]) -> list[bytes]:
        return list(map(render, cells))

    def _strings(self, cells: Any) -> Any:
        return cells

    def _binaries(self, cells: Any) -> Any:
        return cells


class CsvLines(LineFormat):
    """Comma-separated values with a header; quoted where needed, lines end in ``\\n``."""

    name = "csv"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.header = b",".join(map(render_csv, names)) + b"\n"

    def _between(self) -> list[bytes]:
        return [b"", *[b","] * (len(self.names) - 1), b"\n"]

    def _each(self, number: int, cells: list[Any]) -> list[bytes]:
        texts = list(map(render_csv, cells))
        if len(self.names) == 1:
            # An empty line is no row to most readers.
            texts = [text or b'""' for text in texts]
        return texts

    def _strings(self, cells: Any) -> Any:
        import pyarrow.compute as pc

        empty = pc.min(pc.binary_length(cells)).as_py() == 0
        contents = bytes(_contents(cells))
        if not empty and not any(mark in contents for mark in _CSV_SPECIAL):
            return cells
        special = pc.match_substring_regex(cells, r'[",\r\n]|\A\z')
        mark = _text('"')
        nothing = _text("")
        inside = pc.replace_substring(cells, '"', '""')
        quoted = pc.binary_join_element_wise(mark, inside, mark, nothing)
        return pc.if_else(special, quoted, cells)


class JsonLines(LineFormat):
    """One JSON object a line."""

    name = "jsonl"

    def _between(self) -> list[bytes]:
        names = [render_json(name) for name in self.names]
        return [
            b"{%b:" % names[0],
            *(b",%b:" % name for name in names[1:]),
            b"}\n",
        ]

    def _each(self, number: int, cells: list[Any]) -> list[bytes]:
        try:
            return list(map(render_json, cells))
        except ValueError:
            for row, cell in enumerate(cells):
                try:
                    render_json(cell)
                except ValueError as error:
                    raise UnfitCellError(number, row, str(error)) from None
            raise

    def _array(self, number: int, cells: Any) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_float64(cells.type) and not pc.all(pc.is_finite(cells)).as_py():
            self._each(number, cells.to_pylist())  # names the one that JSON cannot hold
        return super()._array(number, cells)

    def _strings(self, cells: Any) -> Any | None:
        import numpy as np
        import pyarrow.compute as pc

        contents = bytes(_contents(cells))
        control = (np.frombuffer(contents, np.uint8) < _FIRST_PRINTABLE).any()
        if control or any(mark in contents for mark in _JSON_SPECIAL):
            return _binary_array([quoted_json(cell).encode() for cell in cells.to_pylist()])
        mark = _text('"')
        return pc.binary_join_element_wise(mark, cells, mark, _text(""))


LINE_FORMATS: dict[str, type[LineFormat]] = {
    each.name: each for each in (TextLines, CsvLines, JsonLines)
}


def _joined(arrays: Sequence[Any], between: Sequence[bytes]) -> memoryview:
    """Join cells and what stands between them into one piece of bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    binary = pa.large_binary()
    parts: list[Any] = []
    for before, array in zip(between, arrays, strict=False):
        if before:
            parts.append(_binary_array([before])[0])
        parts.append(array if array.type == binary else array.cast(binary))
    parts.append(_binary_array([between[-1]])[0])
    return _contents(pc.binary_join_element_wise(*parts, _binary_array([b""])[0]))


def _contents(array: Any) -> memoryview:
    """All cells of a large_string or large_binary array, one after the other."""
    import numpy as np

    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return memoryview(b"")
    places = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    first = int(places[0])
    return memoryview(data)[first : int(places[-1])]


def _text(text: str) -> Any:
    """Make an Arrow scalar; ``pa.scalar`` would import pandas where it is installed."""
    import pyarrow as pa

    return _binary_array([text.encode()]).cast(pa.large_string())[0]


def _binary_array(cells: list[bytes]) -> Any:
    """Make an array of large_binary."""
    import numpy as np
    import pyarrow as pa

    lengths = np.fromiter(map(len, cells), np.int64, len(cells))
    return of_lengths(lengths, b"".join(cells), pa.large_binary())


def _float_texts(cells: Any, each: Callable[[list[Any]], list[bytes]]) -> Any:
    """Render floats as ``repr`` does, nearly all of them by Arrow.

    Args:
        each: renders those that Arrow would write differently, one by one.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    values = as_numpy(cells, "<f8")
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        whole = values == np.floor(values)
    alike = (size < _ALIKE_TO) & ((size >= _ALIKE_FROM) | whole)
    texts = pc.cast(cells, pa.large_string())
    if (whole & alike).any():
        dot = [_text(text) for text in (".0", "")]
        dotted = pc.binary_join_element_wise(texts, *dot)
        texts = pc.if_else(of_bits(whole & alike), dotted, texts)
    others = np.flatnonzero(~alike)
    if len(others):
        singly = _binary_array(each(values[others].tolist())).cast(pa.large_string())
        texts = pc.replace_with_mask(texts, of_bits(~alike), singly)
    return texts
