"""In-memory inputs: lists, anything iterable, DataFrames, Arrow tables → splits.

Items travel pickled. Rows of tables travel as Arrow streams where they come back from one exactly
as they are; a DataFrame whose columns hold anything else travels as pickled dicts.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from types import FunctionType
from typing import Any

from mrkernel.data.schemas import check_columns, check_unique, no_column
from mrkernel.data.splits import LARGEST_SPLIT, MemorySplit
from mrkernel.errors import InputError

#: Map tasks per slot for items in memory: their cost is unknown, so a little more than slots.
_MEMORY_TASKS_PER_SLOT = 2
_MOST_TASKS = 100_000
#: A DataFrame of fewer rows is pickled sooner than Arrow is imported.
_WORTH_ARROW = 1000
#: Items whose fields are looked at to see whether a column is there.
_LOOKED_AT = 1000


def memory_splits(
    given: Any,
    name: str,
    split_size: int | None,
    slots: int,
    columns: tuple[str, ...] | None = None,
) -> list[MemorySplit]:
    """Cut an in-memory input into splits of about ``split_size`` bytes, or a few per slot.

    Args:
        given: iterable, DataFrame, Arrow table or array.
        name: what the user calls it.
        columns: that the mapper reads; None: it did not say.

    Returns: at least one split.

    Raises: InputError: it is no input, or has an item that cannot be sent, or lacks a column.
    """
    table = _table_of(given, name)
    if table is not None:
        check_unique(table.column_names, name)
        if columns is not None:
            check_columns(columns, table.column_names, name)
            table = table.select(list(columns))
        return list(_table_splits(table, name, split_size, slots))
    items = _items_of(given, name)
    if columns is not None:
        _check_fields(items, columns, name)
    return _item_splits(items, name, split_size, slots)


def check_number(tasks: int, split_size: int) -> None:
    """Refuse so many tasks that nobody could hold them; 100,000 of the largest make 6 TB."""
    if tasks > _MOST_TASKS:
        raise InputError(
            f"a split size of {split_size} bytes makes {tasks:,} map tasks: write a larger one, or "
            "leave it out"
        )


def _table_of(given: Any, name: str) -> Any:
    """A table whose rows are the records exactly; None where it takes Python objects to say them.

    Raises: InputError: two columns have one name.
    """
    kind = type(given)
    module = kind.__module__.partition(".")[0]
    if module == "pandas" and kind.__name__ == "DataFrame":
        _check_unique(given, name)
        return _of_pandas(given) if len(given) >= _WORTH_ARROW else None
    if not hasattr(given, "__arrow_c_stream__") or module == "pandas":
        return None
    import pyarrow as pa

    if module == "pyarrow" and not hasattr(given, "schema"):
        return None  # an array: its values are the records
    table = given if isinstance(given, pa.Table) else pa.table(given)
    if any(isinstance(field.type, pa.BaseExtensionType) for field in table.schema):
        return None
    return table


def _of_pandas(frame: Any) -> Any:
    """The frame's columns in Arrow; None where ``to_dict`` would give other objects."""
    import numpy as np
    import pyarrow as pa

    arrays = []
    for label in frame.columns:
        column = frame[label]
        dtype = column.dtype
        if type(label) is not str:
            return None
        if isinstance(dtype, np.dtype) and dtype.kind in "iufb":
            if dtype.name in ("float16", "longdouble", "float128"):
                return None
            arrays.append(pa.array(column.to_numpy()))
            continue
        if getattr(dtype, "name", "") not in ("object", "str", "string"):
            return None
        values = column.tolist()
        if set(map(type, values)) != {str}:
            return None
        try:
            arrays.append(pa.array(values, pa.large_string()))
        except UnicodeEncodeError:
            return None
    return pa.Table.from_arrays(arrays, names=list(frame.columns)) if arrays else None


def _table_splits(
    table: Any, name: str, split_size: int | None, slots: int
) -> Iterator[MemorySplit]:
    import pyarrow as pa

    rows = table.num_rows if table.num_columns else 0  # as to_pylist has it
    count = -(-rows // max(1, _MEMORY_TASKS_PER_SLOT * max(1, slots)))
    limit = LARGEST_SPLIT if split_size is None else max(1, split_size)
    fitting = max(1, rows * limit // max(1, table.nbytes))
    count = max(1, min(count, fitting) if split_size is None else fitting)
    check_number(-(-rows // count), limit)
    for first in range(0, rows, count) if rows else (0,):
        part = table.slice(first, count)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(part)
        data = sink.getvalue().to_pybytes()
        yield MemorySplit(name, first, part.num_rows, data, "", len(data), arrow=True)


def stream_schema(data: bytes) -> str:
    """Names and types of the columns of a ``MemorySplit`` that is an Arrow stream."""
    import pyarrow as pa

    return str(pa.ipc.open_stream(data).schema.remove_metadata())


def _check_unique(frame: Any, name: str) -> None:
    if not frame.columns.is_unique:
        twice = sorted({str(c) for c in frame.columns[frame.columns.duplicated()]})
        raise InputError(
            f"the DataFrame {name} has two columns called {twice[0]!r}: rename one", name
        )


def _check_fields(items: list[Any], columns: tuple[str, ...], name: str) -> None:
    """See that the columns a mapper reads are fields of the items."""
    looked_at = list(islice(items, _LOOKED_AT))
    if not all(type(item) is dict for item in looked_at):
        return  # the reader says which one has no columns
    fields = [str(field) for field in dict.fromkeys(chain.from_iterable(looked_at))]
    for column in columns:
        if looked_at and column not in fields:
            raise no_column(column, fields, name)


def _items_of(given: Any, name: str) -> list[Any]:
    """The records of an in-memory input; rows of tables as dicts."""
    kind = type(given)
    module = kind.__module__.partition(".")[0]
    if module == "pandas" and kind.__name__ == "DataFrame":
        _check_unique(given, name)
        rows: list[Any] = given.to_dict("records")
        return rows
    if isinstance(given, (list, tuple, range)):
        return list(given)
    if isinstance(given, dict):
        raise InputError(f"{name} is a dict: write {{{name}.items()}} for its pairs", name)
    if isinstance(given, (bytes, bytearray, memoryview)):
        raise InputError(
            f"{name} is {kind.__name__}, neither a path nor a list of records: "
            "write {data.decode().splitlines()} for its lines",
            name,
        )
    if module == "pyarrow" and hasattr(given, "to_pylist") and not hasattr(given, "schema"):
        values: list[Any] = given.to_pylist()
        return values
    if hasattr(given, "__arrow_c_stream__") and module != "pandas":
        import pyarrow as pa

        return list(pa.table(given).to_pylist())
    if hasattr(given, "read") and hasattr(given, "name"):
        raise InputError(f"{name} is an open file: pass its path, {given.name!r}", name)
    if not isinstance(given, Iterable):
        if isinstance(given, FunctionType):
            called = given.__name__
            raise InputError(f"{name} is the function {called}: call it, {{{called}()}}", name)
        raise InputError(
            f"{name} ({kind.__name__}) has no items: pass a path, a list or a DataFrame",
            name,
        )
    return list(given)


def _item_splits(
    items: list[Any], name: str, split_size: int | None, slots: int
) -> list[MemorySplit]:
    """Pickle items into splits of about ``split_size`` bytes, or a few per slot."""
    if not items:
        data = _pickled(items, name, 0)
        return [MemorySplit(name, 0, 0, data, "", len(data))]
    if split_size is None:
        count = -(-len(items) // min(len(items), _MEMORY_TASKS_PER_SLOT * max(1, slots)))
        limit = LARGEST_SPLIT
    else:
        limit = max(1, split_size)
        count = 1 if limit == 1 else _items_in(items, limit, name)
        check_number(-(-len(items) // count), limit)
    splits: list[MemorySplit] = []
    at = 0
    for piece in _pieces(items, count):
        splits.extend(_fitting(piece, name, at, limit))
        at += len(piece)
    return splits


def _pieces(items: list[Any], count: int) -> Iterator[list[Any]]:
    return (items[at : at + count] for at in range(0, len(items), count))


def _items_in(items: list[Any], limit: int, name: str) -> int:
    """About how many items make ``limit`` pickled bytes, judged by the first hundred."""
    sample = items[:100]
    return max(1, limit * len(sample) // max(1, len(_pickled(sample, name, 0))))


def _fitting(items: list[Any], name: str, first: int, limit: int) -> Iterator[MemorySplit]:
    """One split, or several where the items pickle to clearly more than ``limit`` bytes."""
    data = _pickled(items, name, first)
    if len(items) > 1 and len(data) > limit * 1.25:
        count = max(1, min(len(items) // 2, int(len(items) * limit / len(data))))
        for piece in _pieces(items, count):
            yield from _fitting(piece, name, first, limit)
            first += len(piece)
        return
    yield MemorySplit(name, first, len(items), data, "", len(data))


def _pickled(items: list[Any], name: str, first: int) -> bytes:
    try:
        data = pickle.dumps(items, 5)
    except Exception:  # noqa: BLE001 - any __reduce__ may raise anything; the next line decides
        data = b"__main__"
    if b"__main__" not in data:
        return data
    # Classes of the notebook must travel by value: their module exists only there.
    import cloudpickle

    try:
        by_value: bytes = cloudpickle.dumps(items, 5)
    except Exception as error:
        for index, item in enumerate(items):
            try:
                cloudpickle.dumps(item, 5)
            except Exception as cause:
                kind = type(item)
                raise InputError(
                    f"{name}[{first + index}] is a {kind.__module__}.{kind.__qualname__} and "
                    f"cannot be sent to a worker ({cause}): pass plain data such as dicts, "
                    "tuples and strings",
                    name,
                    first + index,
                ) from cause
        raise InputError(
            f"{name} cannot be sent to a worker ({error}): pass plain data", name
        ) from error
    return by_value
