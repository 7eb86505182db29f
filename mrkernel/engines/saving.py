"""From the blocks of a result to files: the columns the pairs make, and who writes them.

A table has one shape in all its files, and its header is its first line. So the first block is
taken at its word and the others are written as if they were like it; should one not be (a dict with
one field more, a float among ints), all blocks are looked at once and written again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from mrkernel.data.lines import LINE_FORMATS, Cells, LineFormat, UnfitCellError
from mrkernel.data.manifest import PLAIN
from mrkernel.data.output_writers import OutputWriter, PartFile
from mrkernel.data.outputs import Output
from mrkernel.data.row_shape import RowShape
from mrkernel.deploy.local import usable_cores
from mrkernel.errors import JobSpecError
from mrkernel.job.failure import short
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.line_pairs import block_lines, pair_cells

if TYPE_CHECKING:
    from pyarrow import Table

    from mrkernel.data.url_writers import UrlWriter

_PARQUET = "parquet"
#: Files written at once, at most: more would wait for the disk.
_MOST_THREADS = 4

#: The files of an output, in order: the number of each and what gives its blocks.
Files = Sequence[tuple[int, Callable[[], Iterable[Block]]]]


def save(files: Files, output: Output, job: str) -> list[Any]:
    """Write a result whole, or not at all.

    Args:
        files: what is to be in which part; of a single file there is one. Blocks may be asked for
            several times.
        job: its id, for the manifest.

    Returns: the files written, in order; of a URL their URLs.

    Raises:
        JobSpecError: the pairs do not fit the format or ``columns``; says what to do.
        OutputExistsError: something was put there meanwhile.
    """

    def cells() -> Iterator[tuple[Cells, Cells]]:
        return map(pair_cells, chain.from_iterable(blocks() for _, blocks in files))

    with _writer(output, job) as writer:
        table = _Table(lambda: islice(cells(), 1), output)
        try:
            _write(files, writer, table)
        except _MisfitError:
            table = _Table(cells, output)
            _write(files, writer, table)
        return writer.commit(table.names)


def to_table(blocks: Iterable[Block]) -> Table:
    """Make an Arrow table of the columns ``key`` and ``value``, typed blocks as they are.

    Raises:
        JobSpecError: Arrow has no type that holds all keys, or all values.
    """
    import pyarrow as pa

    from mrkernel.data.parquet_writer import UnfitColumnError, joined_types, to_arrays

    names = ("key", "value")
    types = [pa.null()] * 2
    made: list[list[Any]] = []
    try:
        for block in blocks:
            made.append(to_arrays(pair_cells(block)))
            types = joined_types(types, [array.type for array in made[-1]])
        columns = [
            pa.chunked_array([arrays[number].cast(kind) for arrays in made], kind)
            for number, kind in enumerate(types)
        ]
    except (UnfitColumnError, pa.ArrowException) as error:
        raise JobSpecError(
            f"the result is no Arrow table ({error}): use list(result) or to_pandas()"
        ) from error
    return pa.table(columns, names)


def text_lines(blocks: Iterable[Block]) -> Iterator[bytes | memoryview]:
    """Render pairs as ``key TAB value`` lines, a block of them at a time."""
    return map(block_lines, blocks)


class _MisfitError(Exception):
    """A block does not fit the table that was begun."""


class _Table:
    """The columns of an output.

    Args:
        cells: gives keys and values, block by block, of all rows that are to fit.

    Attributes:
        names: of the columns; None: text, which has none.
        types: Arrow types, of parquet only.
    """

    def __init__(self, cells: Callable[[], Iterable[tuple[Cells, Cells]]], output: Output) -> None:
        self.format = output.format
        self.names: tuple[str, ...] | None = None
        self.types: list[Any] | None = None
        self._output = output
        if self.format == PLAIN:
            return
        self._known = RowShape()
        for keys, values in cells():
            self._known = self._known.joined(RowShape.of(keys, values))
        self._shape = self._known.fitted(output.columns)
        self.names = self._shape.names(output.columns)
        if self.format == _PARQUET:
            self.types = self._types(cells())

    def columns(self, keys: Cells, values: Cells) -> list[Cells]:
        """Deal pairs out to columns.

        Raises: _MisfitError: they have others.
        """
        if self.names is None:
            return [keys, values]
        if self._known.joined(RowShape.of(keys, values)) != self._known:
            raise _MisfitError
        return self._shape.cells(keys, values, len(self.names))

    def arrays(self, keys: Cells, values: Cells) -> list[Any]:
        """Deal pairs out to columns, as Arrow arrays.

        Raises: _MisfitError: their columns or types are others.
        """
        arrays = self._to_arrays(self.columns(keys, values))
        if self._joined(self.types or [], [array.type for array in arrays]) != self.types:
            raise _MisfitError
        return arrays

    def _types(self, blocks: Iterable[tuple[Cells, Cells]]) -> list[Any]:
        import pyarrow as pa

        assert self.names is not None
        types = [pa.null()] * len(self.names)
        for keys, values in blocks:
            arrays = self._to_arrays(self.columns(keys, values))
            types = self._joined(types, [array.type for array in arrays])
        return types

    def _to_arrays(self, columns: list[Cells]) -> list[Any]:
        from mrkernel.data.parquet_writer import UnfitColumnError, to_arrays

        try:
            return to_arrays(columns)
        except UnfitColumnError as error:
            raise self.untypable(error.column, error.reason) from error

    def _joined(self, types: list[Any], others: list[Any]) -> list[Any]:
        from mrkernel.data.parquet_writer import UnfitColumnError, joined_types

        try:
            return joined_types(types, others)
        except UnfitColumnError as error:
            raise self.untypable(error.column, error.reason) from error

    def untypable(self, column: int, reason: str) -> JobSpecError:
        """Say that a column has no one type, and what to do."""
        assert self.names is not None
        return JobSpecError(
            f"column {self.names[column]} has no one Parquet type ({reason}): yield values of one "
            "type, such as str(value), or write jsonl, which can mix them"
        )

    def unfit(self, error: UnfitCellError, keys: Cells) -> JobSpecError:
        """Say which pair the format cannot hold, and what to do."""
        assert self.names is not None
        key = keys[error.row]
        key = key if isinstance(keys, list) else key.as_py()
        return JobSpecError(
            f"column {self.names[error.column]} of key {short(key)} cannot be written as JSON "
            f"({error.reason}): yield text, numbers, None, lists and dicts, or write csv"
        )


class _LineRows:
    """Writes rows as lines into a file."""

    def __init__(self, file: PartFile, table: _Table) -> None:
        self._file, self._table = file, table
        self._lines: LineFormat = LINE_FORMATS[table.format](table.names or ("key", "value"))
        file.write(self._lines.header)

    def add(self, keys: Cells, values: Cells) -> None:
        columns = self._table.columns(keys, values)
        try:
            self._file.write(self._lines.rows(columns))
        except UnfitCellError as error:
            raise self._table.unfit(error, keys) from None

    def close(self) -> None:
        """Nothing is held back."""

    def abandon(self) -> None:
        """Nor to be let go of."""


class _ParquetRows:
    """Writes rows into a Parquet file."""

    def __init__(self, file: PartFile, table: _Table) -> None:
        from mrkernel.data.parquet_writer import ParquetWriter

        self._table = table
        self._writer = ParquetWriter(file, table.names or (), table.types or [])

    def add(self, keys: Cells, values: Cells) -> None:
        from mrkernel.data.parquet_writer import UnfitColumnError

        arrays = self._table.arrays(keys, values)
        try:
            self._writer.add(arrays)
        except UnfitColumnError as error:
            raise self._table.untypable(error.column, error.reason) from None

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        self._writer.abandon()


class _StoppedError(Exception):
    """Another file could not be written, so this one is not needed."""


def _writer(output: Output, job: str) -> OutputWriter | UrlWriter:
    if not output.url:
        return OutputWriter(output, job=job)
    from mrkernel.data.url_writers import UrlWriter

    return UrlWriter(output, job=job)


def _write(files: Files, writer: OutputWriter | UrlWriter, table: _Table) -> None:
    """Write all files: several at a time, because nearly all of it is done outside of Python's lock
    (reading, checksums, Arrow's text, writing).
    """
    waiting = deque(files)
    failed: list[BaseException] = []
    stop = Event()

    def work() -> None:
        try:
            while not stop.is_set():
                try:
                    number, blocks = waiting.popleft()
                except IndexError:
                    return
                _write_file(number, blocks, writer, table, stop)
        except BaseException as error:  # noqa: BLE001 - raised below, by who asked for the files
            failed.append(error)
            stop.set()

    helpers = [
        Thread(target=work, name="mrk-save", daemon=True)
        for _ in range(min(_MOST_THREADS, usable_cores(), len(files)) - 1)
    ]
    with suppress(RuntimeError):  # a program that is ending starts no threads
        for helper in helpers:
            helper.start()
    work()
    for helper in helpers:
        if helper.ident is not None:
            helper.join()
    if failed:
        raise failed[0]


def _write_file(
    number: int,
    blocks: Callable[[], Iterable[Block]],
    writer: OutputWriter | UrlWriter,
    table: _Table,
    stop: Event,
) -> None:
    make = _ParquetRows if table.format == _PARQUET else _LineRows
    file = writer.open(number)
    rows = make(file, table)
    try:
        for block in blocks():
            if stop.is_set():
                raise _StoppedError
            if table.format == PLAIN:
                file.write(block_lines(block))
            else:
                rows.add(*pair_cells(block))
            file.records += block.pairs
        rows.close()
    finally:
        rows.abandon()
    writer.finish(number)
