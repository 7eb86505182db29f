"""Records of Parquet files: splits of whole row groups, planned from the footers alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

from mrkernel.data.batches import TableBatch
from mrkernel.data.schemas import check_columns, check_unique
from mrkernel.data.splits import FileSplit, ParquetSplit, plan_groups
from mrkernel.data.text_files import check_unchanged, open_file
from mrkernel.errors import InputError

#: Rows of a batch: columns of so many stay in the processor's cache, dicts of them are a few MB.
BATCH_ROWS = 16 << 10


def plan_parquet(
    split: FileSplit, target: int, columns: tuple[str, ...] | None
) -> list[ParquetSplit]:
    """Cut a Parquet file at its row groups.

    Args:
        split: the whole file.
        target: bytes of a split, about.
        columns: that the mapper reads; None: it did not say.

    Returns: the splits that have rows, in order.

    Raises: InputError: it is no Parquet file, or lacks a column.
    """
    with open_file(split) as file, _said(split.path):
        reader = _parquet(file)
        check_unique(reader.schema_arrow.names, split.path)
        if columns is not None:
            check_columns(columns, reader.schema_arrow.names, split.path)
        footer = reader.metadata
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        sizes = [max(1, group.total_byte_size) for group in groups]
        starts = list(accumulate((group.num_rows for group in groups), initial=0))
    # Sizes are told uncompressed; what counts is their share of the file.
    whole = sum(sizes)
    shares = [split.size * size // whole for size in sizes]
    return [
        ParquetSplit(
            split.path,
            (first, last),
            starts[first],
            starts[last] - starts[first],
            sum(shares[first:last]),
            split.size,
            split.mtime_ns,
            version=split.version,
        )
        for first, last in plan_groups(shares, target)
        if starts[last] > starts[first]
    ]


def read_parquet(
    split: ParquetSplit, *, columns: tuple[str, ...] | None, rows: int = BATCH_ROWS
) -> Iterator[TableBatch]:
    """Read row groups.

    Args:
        columns: only these are read from the file; None: all.
        rows: of a batch, at most.

    Raises: InputError: the file is gone, has changed, or is broken; or lacks a column.
    """
    import pyarrow as pa

    with open_file(split) as file:
        at = split.first
        with _said(split.path):
            reader = _parquet(file)
            if columns is not None:
                check_columns(columns, reader.schema_arrow.names, split.path)
            batches = reader.iter_batches(
                rows,
                row_groups=list(range(*split.groups)),
                columns=None if columns is None else list(columns),
                use_threads=False,
            )
        while True:
            with _said(split.path):
                found = next(batches, None)
            if found is None:
                break
            table = pa.Table.from_batches([found])
            if columns is not None:
                table = table.select(list(columns))
            nbytes = split.nbytes * table.num_rows // max(1, split.rows)
            yield TableBatch(table, split.path, at, nbytes)
            at += table.num_rows
        check_unchanged(split, file)


def _parquet(file: Any) -> Any:
    # Of pyarrow.parquet only what it takes to read one file: no dataset, no pandas.
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(file)


@contextmanager
def _said(path: str) -> Iterator[None]:
    """Say which file is broken."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(
            f"{path} is not a Parquet file that can be read ({reason}): write it anew", path
        ) from error
