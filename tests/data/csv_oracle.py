"""What Python's ``csv`` makes of a whole file: what every way to cut and read it must give."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401 - where it is not imported yet, small files are read without it

from mrkernel.data.records import open_split
from mrkernel.data.schemas import CsvSchema
from mrkernel.data.splits import FileSplit

Row = dict[str, Any]


def rows_of(data: bytes, *, delimiter: str = ",") -> list[Row] | None:
    """All records as texts; None where the file is no table with a header."""
    text = data.decode("utf-8-sig")
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    if not rows:
        return []
    if len({len(row) for row in rows}) > 1 or len(set(rows[0])) < len(rows[0]):
        return None
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def texts(*names: str, delimiter: str = ",") -> CsvSchema:
    """A schema without types."""
    return CsvSchema(names, ("str",) * len(names), delimiter, "first.csv")


def split_of(path: Path, start: int = 0, end: int | None = None, schema: int = 0) -> FileSplit:
    info = path.stat()
    end = info.st_size if end is None else end
    return FileSplit(str(path), start, end, info.st_size, info.st_mtime_ns, "csv", schema)


def read(split: Any, schema: CsvSchema, **options: Any) -> list[tuple[int, Row]]:
    """(byte offset, record) of all records of a split."""
    with open_split(split, schemas=[schema], **options) as reader:
        return [
            (offset, record)
            for batch in reader
            for (_, offset), record in zip(batch.keys(), batch.records, strict=True)
        ]
