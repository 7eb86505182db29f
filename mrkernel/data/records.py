"""Records of a split, in batches, whatever its format: the door to all readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from mrkernel.data import pickles
from mrkernel.data.batches import (
    Batch,
    ItemBatch,
    KeyedBatch,
    LineBatch,
    PairBatch,
    RecordReader,
    TableBatch,
    Unreadable,
    tagged,
)
from mrkernel.data.binary_reader import is_binary, read_bytes
from mrkernel.data.csv_reader import is_small, read_csv
from mrkernel.data.jsonl_reader import read_jsonl
from mrkernel.data.line_reader import RECORD_LIMIT, read_lines, read_unsplittable_lines
from mrkernel.data.parquet_reader import BATCH_ROWS, read_parquet
from mrkernel.data.schemas import CsvSchema, check_columns
from mrkernel.data.splits import (
    FileSplit,
    MemorySplit,
    PackedSplit,
    ParquetSplit,
    PartSplit,
    Split,
)
from mrkernel.data.text_files import check_errors, splittable, text_codec
from mrkernel.errors import InputError

__all__ = [
    "Batch",
    "ItemBatch",
    "LineBatch",
    "RecordReader",
    "TableBatch",
    "Unreadable",
    "check_errors",
    "open_split",
    "splittable",
    "text_codec",
]

#: Bytes read at once.
BLOCK = 1 << 20


def open_split(
    split: Split,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    data: bytes | None = None,
    record_limit: int = RECORD_LIMIT,
    block: int = BLOCK,
    columns: tuple[str, ...] | None = None,
    schemas: Sequence[CsvSchema] = (),
    unreadable: bool = False,
) -> RecordReader:
    """Read the records of a split.

    Args:
        split: what to read.
        encoding: of text files, as in ``open``.
        errors: what to do with undecodable bytes, as in ``open``.
        data: the items of a ``MemorySplit`` which carries only a blob.
        record_limit: longest line, or record of a CSV file, in bytes.
        block: bytes of text per batch, about.
        columns: records are dicts of these columns only, and only these are read; None: all.
        schemas: of the job's CSV inputs.
        unreadable: where a line is no JSON give an ``Unreadable`` in its place.

    Raises:
        InputError: (also while iterating) the file is gone, unreadable, changed since the job was
            planned, not text of that encoding, has a line over the limit, is not of its format, or
            lacks a column; has ``path`` and ``offset``.
    """
    if isinstance(split, PartSplit):
        raise TypeError("what a job made is read by shuffle.pairs")
    if isinstance(split, MemorySplit):
        return RecordReader(tagged(_items(split, data, columns), split.source))
    if isinstance(split, ParquetSplit):
        rows = BATCH_ROWS if block >= BLOCK else 1 + block // 64
        return RecordReader(tagged(read_parquet(split, columns=columns, rows=rows), split.source))
    files = split.files if isinstance(split, PackedSplit) else (split,)
    known = not any(isinstance(file, FileSplit) and file.streamed for file in files)
    small = known and is_small(min(split.nbytes, block))
    text_codec(encoding)  # refused here rather than in the middle

    def batches(file: FileSplit | ParquetSplit) -> Iterator[Batch]:
        if isinstance(file, ParquetSplit):
            return tagged(read_parquet(file, columns=columns), file.source)
        records = _text_records(
            file, encoding, errors, record_limit, block, columns, schemas, small, unreadable
        )
        return tagged(records, file.source)

    if len(files) == 1:
        return RecordReader(batches(files[0]))
    return RecordReader(chain.from_iterable(map(batches, files)))


def _text_records(
    split: FileSplit,
    encoding: str,
    errors: str,
    record_limit: int,
    block: int,
    columns: tuple[str, ...] | None,
    schemas: Sequence[CsvSchema],
    small: bool,
    unreadable: bool,
) -> Iterator[Batch]:
    if is_binary(split.format):
        return read_bytes(split, columns, block=block)
    block = min(block, record_limit)  # so that a line over the limit is alone in its block
    if split.format == "csv":
        return read_csv(
            split,
            schemas[split.schema],
            encoding=encoding,
            errors=errors,
            record_limit=record_limit,
            block=block,
            columns=columns,
            small=small,
        )
    read = read_lines if splittable(encoding) else read_unsplittable_lines
    lines = read(split, text_codec(encoding), errors, record_limit, block)
    if split.format == "jsonl":
        return read_jsonl(lines, columns, unreadable=unreadable)
    if columns is not None and split.nbytes:
        raise InputError(
            f"{split.path} is read as lines, which have no columns: leave @mrkernel.reads out, or "
            "pass its --format",
            split.path,
        )
    return lines


def _items(
    split: MemorySplit, data: bytes | None, columns: tuple[str, ...] | None
) -> Iterator[Batch]:
    data = split.data if data is None else data
    if data is None:
        raise InputError(
            f"the items of {split.label} did not arrive; run the job again", split.name
        )
    if split.arrow:
        import pyarrow as pa

        table = pa.ipc.open_stream(data).read_all()
        if columns is not None:
            check_columns(columns, table.column_names, split.name)
            table = table.select(list(columns))
        if split.count:
            yield TableBatch(table, split.name, split.first, len(data), "[")
        return
    if split.keyed:
        yield KeyedBatch(pickles.loads(data), len(data))
        return
    plain = data

    def made() -> list[Any]:
        items = pickles.loads(plain)
        return items if columns is None else _projected(split, items, columns)

    try:
        items = made()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the items of {split.label} cannot be made again where they are read "
            f"({type(error).__name__}: {error}): pass plain data such as dicts, tuples and strings",
            split.name,
            split.first,
        ) from error
    kind = PairBatch if split.pairs else ItemBatch
    yield kind(items, split.name, split.first, len(data), made)


def _projected(split: MemorySplit, items: list[Any], columns: tuple[str, ...]) -> list[Any]:
    """Leave of each item, a dict, only some fields."""
    for index, item in enumerate(items):
        if type(item) is not dict:
            raise InputError(
                f"{split.name}[{split.first + index}] is a {type(item).__name__}, which has no "
                "columns: leave @mrkernel.reads out",
                split.name,
                split.first + index,
            )
    return [{name: item.get(name) for name in columns} for item in items]
