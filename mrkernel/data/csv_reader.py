"""Records of CSV files, block by block.

Arrow parses whole blocks into columns; ``csv`` reads those that are too small to be worth it, and
those in which Arrow finds something wrong: then it says what and where. Both give the same records,
whatever the block size and wherever the file was cut.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, chain, repeat
from typing import Any

from mrkernel.data.batches import Batch, Key
from mrkernel.data.csv_dialect import CsvDialect
from mrkernel.data.csv_files import CsvSource, check_header, read_header
from mrkernel.data.csv_records import (
    Marks,
    cut_records,
    guess_start,
    is_near,
    long_fields,
    read_rows,
    record_start,
    record_starts,
    wrong_guess,
)
from mrkernel.data.csv_types import FALSE, NULLS, TRUE, MisfitError, values_of
from mrkernel.data.schemas import CsvSchema
from mrkernel.data.splits import ENDLESS, FileSplit
from mrkernel.data.tables import array_of, dicts, rows
from mrkernel.data.text_files import (
    BOM,
    check_unchanged,
    no_such_errors,
    open_file,
    undecodable,
    weighed,
)
from mrkernel.errors import InputError

#: Up to so many bytes ``csv`` is as fast as Arrow.
_SMALL = 4 << 10
#: Importing Arrow takes as long as ``csv`` needs for so many bytes of a split.
WORTH_ARROW = 64 << 10


class CsvBatch(Batch):
    """Records of a CSV file; the key is (path, byte offset of the record's first byte)."""

    __slots__ = ("_columns", "_place", "_size", "_table")

    def __init__(self, place: _Place, columns: list[Sequence[Any]] | None, table: Any) -> None:
        """``columns`` or ``table`` is None; the other one is made of it when asked for."""
        # Not super(): it would set what is made when it is asked for.
        self.nbytes = place.nbytes
        self._keys = None
        self._place = place
        self._columns = columns
        self._table = table
        self._size = len(columns[0]) if columns else 0 if table is None else table.num_rows

    def __getattr__(self, name: str) -> Any:
        if name != "records":
            raise AttributeError(name)
        if self._columns is None:
            self.records = rows(self._table)
        else:
            self.records = dicts(self._place.columns.names, self._columns)
        return self.records

    def again(self) -> CsvBatch:
        return CsvBatch(self._place, self._columns, self._table)

    def __len__(self) -> int:
        return self._size

    def anew(self, start: int, stop: int) -> list[Any]:
        if self._columns is None:
            return rows(self._table.slice(start, stop - start))
        return dicts(self._place.columns.names, [column[start:stop] for column in self._columns])

    def key(self, index: int) -> Key:
        place = self._place
        return self.keys()[index] if index else (place.path, place.first_offset())

    def _all_keys(self) -> list[Key]:
        return list(zip(repeat(self._place.path), self._place.offsets(), strict=False))

    def where(self, index: int) -> str:
        return f"{self._place.path}, byte {self.key(index)[1]}"

    def near(self, index: int) -> str:
        if index and self._keys is None:
            return f"{self._place.path}, after byte {self._place.first_offset()}"
        return self.where(index)

    def table(self) -> Any:
        if self._table is None:
            self._table = self._place.table()
        return self._table


class _Columns:
    """The columns to read of a file, and how: in the order asked for, each with its place."""

    def __init__(self, schema: CsvSchema, header: list[str], chosen: tuple[str, ...]) -> None:
        types = dict(zip(schema.names, schema.types, strict=True))
        self.marks = Marks.of(schema.delimiter, schema.quote)
        self.header = header
        self.told_by = "its header" if schema.header else "the first record of the input"
        self.names = chosen
        self.types = tuple(types[name] for name in chosen)
        self.places = [header.index(name) for name in chosen]

    def parse(self, data: Any, quoted: bool) -> Any:
        """Parse bytes of UTF-8 into an Arrow table.

        Raises: pyarrow.ArrowInvalid: something is wrong with them, or with us.
        """
        options = _options(tuple(self.header), self.marks, self.names, self.types, quoted)
        import pyarrow as pa
        import pyarrow._csv as arrow_csv

        if data.startswith(BOM):
            data = BOM + data  # Arrow drops one, and it is data
        read, parse, convert = options
        read.block_size = len(data) + 1
        if "int" in self.types and _hexadecimal(data):
            raise pa.ArrowInvalid("hexadecimal")  # which Arrow takes for an int, and we do not
        return arrow_csv.read_csv(
            pa.py_buffer(data), read_options=read, parse_options=parse, convert_options=convert
        )


def _array(values: Sequence[Any], kind: str) -> Any:
    """Make an Arrow array of the values of a column, which is typed also where all are missing."""
    import pyarrow as pa

    if set(values) <= {None}:
        return pa.nulls(len(values), _arrow_type(kind))
    made = array_of(list(values))
    return made.cast(pa.string()) if kind == "str" else made


def _arrow_type(kind: str) -> Any:
    import pyarrow as pa

    types = {"int": pa.int64, "float": pa.float64, "bool": pa.bool_, "str": pa.string}
    return types[kind]()


def _hexadecimal(data: bytes) -> bool:
    """Whether a field may begin with ``0x`` or ``0X``: what stands before is no letter or digit.

    Searching for ``0x`` as it is takes as long as parsing.
    """
    import numpy as np

    for letter in (b"x", b"X"):
        if letter in data:
            octets = np.frombuffer(data, np.uint8)
            zeros = np.flatnonzero(octets[1:] == letter[0])
            zeros = zeros[octets[zeros] == ord("0")]
            if any(at == 0 or not data[at - 1 : at].isalnum() for at in zeros.tolist()):
                return True
    return False


@lru_cache(maxsize=16)
def _options(
    header: tuple[str, ...],
    marks: Marks,
    names: tuple[str, ...],
    types: tuple[str, ...],
    quoted: bool,
) -> tuple[Any, Any, Any]:
    import pyarrow._csv as arrow_csv

    return (
        arrow_csv.ReadOptions(column_names=list(header), use_threads=False),
        arrow_csv.ParseOptions(
            delimiter=chr(marks.delimiter),
            quote_char=False if marks.quote is None else chr(marks.quote),
            newlines_in_values=quoted,
        ),
        arrow_csv.ConvertOptions(
            column_types={n: _arrow_type(kind) for n, kind in zip(names, types, strict=True)},
            include_columns=list(names),
            null_values=NULLS,
            true_values=TRUE,
            false_values=FALSE,
        ),
    )


class _Place:
    """Some whole records of a file: their bytes, and what is needed to make sense of them."""

    __slots__ = ("_at", "_data", "_errors", "_quoted", "_source", "columns", "path")

    def __init__(
        self,
        path: str,
        at: int,
        data: bytes,
        quoted: bool,
        columns: _Columns,
        source: CsvSource,
        errors: str,
    ) -> None:
        self.path = path
        self.columns = columns
        self._at = at
        self._data = data
        self._quoted = quoted
        self._source = source
        self._errors = errors

    @property
    def nbytes(self) -> int:
        return len(self._data)

    def batch(self, small: bool) -> CsvBatch:
        """Parse the records.

        Args:
            small: they are not worth importing Arrow.

        Raises: InputError: they do not fit the header or its types, or are no text.
        """
        if not small and len(self._data) > _SMALL:
            try:
                return CsvBatch(self, None, self._parse())
            except (ValueError, UnicodeError):  # ArrowInvalid is a ValueError
                pass
        return CsvBatch(self, self._columns(), None)

    def _parse(self) -> Any:
        data: Any = self._data
        if self._source.codec != "utf-8":
            data = self._text().encode()
        return self.columns.parse(data, self._quoted)

    def table(self) -> Any:
        """The records as a table.

        Raises: InputError: a number is beyond 64 bits, or a text is none for Arrow.
        """
        import pyarrow as pa

        try:
            return self._parse()
        except (ValueError, UnicodeError):
            values = self._columns()  # what Arrow's reader refuses may be in order
        try:
            arrays = list(map(_array, values, self.columns.types))
        except (ValueError, OverflowError) as error:
            raise self._no_table(error) from error
        return pa.Table.from_arrays(arrays, names=list(self.columns.names))

    def _no_table(self, error: Exception) -> InputError:
        for name, kind, values in zip(
            self.columns.names, self.columns.types, self._columns(), strict=True
        ):
            for index, value in enumerate(values if kind == "int" else ()):
                if value is not None and value.bit_length() > 63:
                    at = self._offset(index)
                    return InputError(
                        f"{self.path} has {value} in column {name!r} at byte {at}, beyond the 64 "
                        "bits of an Arrow column: leave --batch out, or pass --format csv:text",
                        self.path,
                        at,
                    )
        return InputError(
            f"{self.path} holds text from byte {self._offset(0)} on of which no Arrow column can "
            f"be made ({error}): leave --batch out, or pass --errors replace",
            self.path,
            self._offset(0),
        )

    def _text(self) -> str:
        codec = self._source.codec
        if self._source.original:
            return self._data.decode(codec, "surrogatepass")
        try:
            return self._data.decode(codec, self._errors)
        except UnicodeDecodeError as error:
            raise undecodable(self.path, self._at + error.start, codec, error) from None
        except LookupError:
            raise no_such_errors(self._errors) from None

    def _columns(self) -> list[Sequence[Any]]:
        """Read the records with ``csv``: slower, and with a reason for everything refused."""
        columns = self.columns
        width = len(columns.header)
        with long_fields():
            found = [row for _, row in read_rows(self._text(), columns.marks)]
        if set(map(len, found)) - {width}:
            index = next(i for i, row in enumerate(found) if len(row) != width)
            at, has = self._offset(index), len(found[index])
            raise InputError(
                f"{self.path} has {has} field{'s' * (has > 1)} at byte {at}, but {columns.told_by} "
                f"has {width}: repair that line, or read the file with --format lines",
                self.path,
                at,
            )
        if not found:
            return [[] for _ in columns.places]
        whole = list(zip(*found, strict=True))
        made: list[Sequence[Any]] = []
        for place, kind, name in zip(columns.places, columns.types, columns.names, strict=True):
            try:
                made.append(values_of(whole[place], kind))
            except MisfitError as error:
                raise self._misfit(name, kind, whole[place][error.index], error.index) from None
        return made

    def _misfit(self, name: str, kind: str, text: str, index: int) -> InputError:
        at = self._offset(index)
        shown = repr(text if len(text) <= 60 else text[:60] + "…")
        return InputError(
            f"{self.path} has {shown} in column {name!r} at byte {at}, but the files' sample had "
            f"only {kind} there: repair it, or pass --format csv:text and convert yourself",
            self.path,
            at,
        )

    def _offset(self, index: int) -> int:
        return self.offsets()[index]

    def first_offset(self) -> int:
        """Where in the file the first record begins (byte)."""
        blank = len(self._data) - len(self._data.lstrip(b"\r\n"))
        return self._at + self._source.length(self._data[:blank])

    def offsets(self) -> list[int]:
        """Where in the file each record begins (bytes)."""
        begins = record_starts(self._data, self.columns.marks, quoted=self._quoted)
        if not self._source.original:
            return [self._at + begin for begin in begins]
        pieces = map(self._data.__getitem__, map(slice, chain((0,), begins), begins))
        return list(accumulate(map(self._source.length, pieces), initial=self._at))[1:]


def read_csv(
    split: FileSplit,
    schema: CsvSchema,
    *,
    encoding: str,
    errors: str,
    record_limit: int,
    block: int,
    columns: tuple[str, ...] | None,
    small: bool,
) -> Iterator[CsvBatch]:
    """Read the records that begin in a split of a CSV file.

    Args:
        schema: names and types of the columns of its input.
        encoding: of the file.
        errors: what to do with undecodable bytes, as in ``open``.
        record_limit: longest record in bytes.
        block: bytes of a batch, about.
        columns: only these are read; None: all.
        small: the task is not worth importing Arrow.

    Raises: InputError: as ``open_split``; and what is no such table: has path and byte offset.
    """
    chosen = schema.chosen(columns)
    with open_file(split) as file:
        source = CsvSource(file, encoding, errors)
        dialect = CsvDialect(schema.delimiter, schema.quote, schema.header)
        header, header_end, _ = read_header(source.read, source.codec, split.path, dialect)
        if header:
            check_header(header, schema, split.path)
            if not schema.header:
                header = list(schema.names)
            yield from _batches(
                split,
                file,
                _Columns(schema, header, chosen),
                source,
                header_end,
                errors,
                record_limit,
                block,
                small,
            )
        check_unchanged(split, file)


def _batches(
    split: FileSplit,
    file: Any,
    columns: _Columns,
    source: CsvSource,
    header_end: int,
    errors: str,
    limit: int,
    block: int,
    small: bool,
) -> Iterator[CsvBatch]:
    marks = columns.marks
    fields = len(columns.header)
    path = split.path

    def start_at(place: int, *, guess: bool = True) -> tuple[int, bool]:
        if place <= header_end:
            return header_end, True
        return record_start(
            source.read,
            place,
            header_end,
            marks=marks,
            fields=fields,
            limit=limit,
            path=path,
            guess=guess,
        )

    if source.original and split.start:
        raise InputError(
            f"{path} cannot be split in {source.original}: leave out --split-size", path
        )
    end = ENDLESS if source.original else split.stop
    at, certain = start_at(split.start)
    in_file = at
    if source.original:
        in_file = source.base + source.length(source.read(0, at))
    blocks = cut_records(source.read, at, end, marks=marks, block=block, limit=limit, path=path)
    try:
        for next_at, data, quotes in blocks:
            at = next_at
            if data:
                place = _Place(path, in_file, data, len(quotes) > 0, columns, source, errors)
                batch = place.batch(small)
                batch.nbytes = weighed(file, batch.nbytes)
                if len(batch):
                    yield batch
                in_file += source.length(data)
    except InputError:
        # What looks wrong may be our guess: whoever fails has the time to look.
        if not certain and start_at(split.start, guess=False)[0] != start_at(split.start)[0]:
            raise wrong_guess(path, split.start) from None
        raise
    if end < split.size and not is_near(header_end, end):
        # Who reads from there on cannot see what is before: we can.
        guess = guess_start(source.read, end, marks=marks, fields=fields, limit=limit)
        if guess is not None and guess != at:
            raise wrong_guess(path, end)


def is_small(nbytes: int) -> bool:
    """Whether a task that reads so many bytes is not worth importing Arrow."""
    return nbytes <= WORTH_ARROW and "pyarrow" not in sys.modules
