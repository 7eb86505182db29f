"""Between Arrow tables and records: dicts of columns, columns of dicts.

Nothing here makes pyarrow import pandas where plain values are concerned, as ``pa.array`` would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from mrkernel.data.arrays import of_bits, of_lengths, packed
from mrkernel.errors import InputError


def rows(table: Any) -> list[dict[str, Any]]:
    """The rows of an Arrow table as dicts, as ``table.to_pylist()`` gives them, only faster."""
    return dicts(tuple(table.column_names), [column.to_pylist() for column in table.columns])


def dicts(names: tuple[str, ...], columns: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Make dicts of columns of equal length; of equal names the last one counts."""
    if not names:
        return []
    return list(map(_dict_maker(names), *columns))


@lru_cache(maxsize=64)
def _dict_maker(names: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    """A function of the values of one row; a dict display is three times as fast as dict(zip())."""
    values = [f"_{number}" for number in range(len(names))]
    items = ", ".join(f"{name!r}: {value}" for name, value in zip(names, values, strict=True))
    made: Callable[..., dict[str, Any]] = eval(
        f"lambda {', '.join(values)}: {{{items}}}", {"__builtins__": {}}
    )
    return made


def table_of_items(items: list[Any], where: str, name: str, column: str = "item") -> Any:
    """Make a table of items: dicts by their fields (None where one has none), else one column.

    Args:
        where: the place of the first item, for messages.
        name: of the input, which becomes the error's path.
        column: what the one column is called.

    Raises: InputError: Arrow has no type for a column.
    """
    import pyarrow as pa

    fields = {column: items}
    if set(map(type, items)) == {dict}:
        names = dict.fromkeys(chain.from_iterable(items))
        if names and all(type(field) is str for field in names):
            fields = {field: [item.get(field) for item in items] for field in names}
    arrays = []
    for field, values in fields.items():
        try:
            arrays.append(array_of(values))
        except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
            raise InputError(
                f"no Arrow column can be made of {field!r} from {where} on ({error}): give all its "
                "values one type, or leave --batch out",
                name,
            ) from error
    return pa.Table.from_arrays(arrays, names=list(fields))


def array_of(values: list[Any]) -> Any:
    """Make an Arrow array of values of one type and None.

    Raises: pyarrow.ArrowException, OverflowError, ValueError, TypeError: there is none for them.
    """
    import numpy as np
    import pyarrow as pa

    kinds = set(map(type, values))
    if kinds <= {type(None)}:
        return pa.nulls(len(values))
    nullable = type(None) in kinds
    kinds.discard(type(None))
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind not in (str, int, float, bool):
        return pa.array(values)
    valid = None
    size = len(values)
    if nullable:
        there = np.fromiter((value is not None for value in values), bool, size)
        valid = packed(there)
        zero = kind()
        values = [zero if value is None else value for value in values]
    if kind is str:
        text = "".join(values)
        data = text.encode()
        each = values if len(data) == len(text) else map(str.encode, values)
        lengths = np.fromiter(map(len, each), np.int64, size)
        return of_lengths(lengths, data, pa.large_string(), valid)
    if kind is bool:
        return of_bits(np.fromiter(values, bool, size), valid)
    numbers = np.fromiter(values, "<i8" if kind is int else "<f8", size)
    arrow = pa.int64() if kind is int else pa.float64()
    return pa.Array.from_buffers(arrow, size, [valid, pa.py_buffer(numbers)])
