"""The mapper of one ``--batch`` task: tables in, columns of keys and values out.

A batch mapper gets many records at once as one table (Arrow; pandas or polars where its parameter
is annotated so) and gives keys and values as columns. No pair of it is ever a Python object here.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from mrkernel.data.records import Batch
from mrkernel.errors import JobSpecError
from mrkernel.job.callables import prepare
from mrkernel.job.failure import Failure, UserCodeError, short, user_failure
from mrkernel.job.mapping import Pair, a_kind, hint_for

#: Keys and values of equal length: Arrow or numpy arrays, or lists.
Columns = tuple[Any, Any]

#: One of these in place of a column stands for a column of them: ``yield words, 1``.
_SINGLE = (str, bytes, bool, int, float, type(None))

WRITE = "yield table.select([key, value]), or yield keys, values: two arrays of one length"


class BatchMapCall:
    """A batch mapper, made ready for one task: a class is made here, once."""

    def __init__(self, mapper: Any) -> None:
        """Check the mapper.

        Raises:
            JobSpecError: it cannot be a batch mapper; says what to write.
            UserCodeError: it is a class and raised while it was made.
        """
        prepared = prepare(mapper, "mapper")
        if prepared.required != 1:
            raise JobSpecError(
                "a batch mapper takes one argument, the table of many records: "
                "write def mapper(table)"
            )
        self._call = prepared.call
        self._finish = prepared.finish
        self.takes = frame_kind(prepared.call)  #: "arrow", "pandas" or "polars"

    def columns(self, batch: Batch) -> list[Columns]:
        """Map a whole batch.

        Returns: keys and values, as often as the mapper gives some.

        Raises: UserCodeError: the mapper raised, or gave something else than keys and values.
        """
        return self._mapped(batch.table(), batch)

    def try_rows(self, batch: Batch, rows: int) -> list[Pair]:
        """Map the first ``rows`` of a batch, and give the pairs one by one (for the preflight).

        Raises: UserCodeError: as ``columns``.
        """
        pairs: list[Pair] = []
        for keys, values in self._mapped(batch.table().slice(0, rows), batch):
            pairs += zip(_listed(keys), _listed(values), strict=True)
        return pairs

    def finish(self) -> list[Columns]:
        """What a class gives at the end of its task; [] for a function.

        Raises: UserCodeError: as ``columns``.
        """
        if self._finish is None:
            return []
        try:
            given = self._finish()
            return [_columns(one, "mapper's finish()", "finish()") for one in _given(given)]
        except UserCodeError:
            raise
        except (Exception, SystemExit) as error:
            failure = user_failure(error, role="mapper", where="finish()", hint=hint_for(error))
            raise UserCodeError(failure) from error

    def _mapped(self, table: Any, batch: Batch) -> list[Columns]:
        where = f"{table.num_rows:,} records from {batch.where(0)}" if table.num_rows else ""
        try:
            given = self._call(_as(self.takes, table))
            # As they come: the mapper may fill the same arrays again for the next.
            return [_columns(one, "mapper", where) for one in _given(given)]
        except UserCodeError:
            raise
        except (Exception, SystemExit) as error:
            hint = _hint(error, table) or hint_for(error)
            failure = user_failure(error, role="mapper", where=where, hint=hint)
            raise UserCodeError(failure) from error


def frame_kind(mapper: Any) -> str:
    """Read from its parameter's annotation what a mapper takes: "arrow", "pandas" or "polars"."""
    try:
        parameters = list(inspect.signature(mapper).parameters.values())
    except (TypeError, ValueError):
        return "arrow"
    annotation = parameters[0].annotation if parameters else None
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__module__", "")
    name = text.partition(".")[0].strip()
    names = {"pd": "pandas", "pandas": "pandas", "pl": "polars", "polars": "polars"}
    return names.get(name, "arrow")


def _as(kind: str, table: Any) -> Any:
    if kind == "pandas":
        return table.to_pandas()
    if kind == "polars":
        return importlib.import_module("polars").from_arrow(table)
    return table


def _given(given: Any) -> Iterator[Any]:
    """Take apart what a mapper gave: one table or pair of columns, or several of them."""
    if isinstance(given, (Iterator, list)):
        yield from given
    elif given is not None:
        yield given


def _columns(given: Any, role: str, where: str) -> Columns:
    """Find the key and the value in what a mapper gave.

    Raises: UserCodeError: they are not there; says what to write.
    """
    try:
        found = _taken_apart(given)
    except _NotColumns as error:
        raise _refused(role, str(error), where) from error
    except Exception as error:
        # A library refused to make Arrow of it: its own words say why.
        said = f"gives {a_kind(given)} of which no columns can be made ({error})"
        raise _refused(role, said, where) from error
    if len(found[0]) != len(found[1]):
        raise _refused(role, f"gives {len(found[0]):,} keys and {len(found[1]):,} values", where)
    return found


class _NotColumns(Exception):
    """What was given is no keys and values; the message says how."""


def _taken_apart(given: Any) -> Columns:
    if isinstance(given, tuple):
        if len(given) != 2:
            raise _NotColumns(f"gives a tuple of {len(given)}")
        return _side_by_side(*given)
    if type(given).__module__.partition(".")[0] == "pandas":
        return _key_and_value(_of_pandas(given))
    if hasattr(given, "__arrow_c_stream__") and not _is_series(given):
        import pyarrow as pa

        table = given if isinstance(given, pa.Table) else pa.table(given)
        return _key_and_value(table.columns)
    raise _NotColumns(f"gives {a_kind(given)}")


def _side_by_side(keys: Any, values: Any) -> Columns:
    """Make two columns; a single key or value stands for as many as the other has."""
    if isinstance(keys, _SINGLE) and isinstance(values, _SINGLE):
        return [keys], [values]
    if isinstance(keys, _SINGLE):
        values = _column(values)
        return _repeated(keys, len(values)), values
    keys = _column(keys)
    return keys, _repeated(values, len(keys)) if isinstance(values, _SINGLE) else _column(values)


def _repeated(value: Any, times: int) -> Any:
    """Make a column of one value; not by ``pa.repeat``, which imports pandas where it can."""
    import numpy as np

    if type(value) is float or (type(value) is int and -(1 << 63) <= value < 1 << 63):
        return np.full(times, value)
    return [value] * times


def _key_and_value(columns: list[Any]) -> Columns:
    """The last column is the value; those before it are the key."""
    *keys, value = columns or (None,)
    if not keys:
        raise _NotColumns(f"gives a table of {len(columns)} columns")
    if len(keys) == 1:
        return keys[0], value
    return list(zip(*map(_listed, keys), strict=True)), value


def _of_pandas(given: Any) -> list[Any]:
    """A named index is what was grouped by: the key."""
    if type(given).__name__ == "Series":
        given = given.rename(given.name if given.name is not None else "value").reset_index()
    elif any(name is not None for name in given.index.names):
        given = given.reset_index()
    return [_column(given.iloc[:, place]) for place in range(given.shape[1])]


def _is_series(given: Any) -> bool:
    return type(given).__name__ == "Series"


def _column(given: Any) -> Any:
    """Make one array or list of anything like a column."""
    import pyarrow as pa

    if isinstance(given, (pa.Array, pa.ChunkedArray)):
        return given
    if isinstance(given, list):
        return given.copy()
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(given, numpy.ndarray):
        if given.ndim != 1:
            raise _NotColumns(f"gives an array of {given.ndim} dimensions as a column")
        masked = isinstance(given, numpy.ma.MaskedArray)
        return given.tolist() if masked or given.dtype.kind == "O" else given.copy()
    if hasattr(given, "to_arrow"):  # polars
        return given.to_arrow()
    if hasattr(given, "to_numpy"):  # pandas
        return _of_series(given)
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, dict)):
        return list(given)
    raise _NotColumns(f"gives {short(given)} ({a_kind(given)}) as a column")


def _of_series(given: Any) -> Any:
    """Take numbers as they are, NaN among them; texts and categories by Arrow; else objects."""
    import pyarrow as pa

    kind = getattr(given.dtype, "kind", "O")
    plain = type(given.dtype).__module__.partition(".")[0] == "numpy"
    if plain and kind in "iufb":
        return given.to_numpy(copy=True)
    if not plain and (kind in "iufb" or str(given.dtype) in ("str", "string", "category")):
        return pa.Array.from_pandas(given)
    return given.tolist()


def _listed(column: Any) -> list[Any]:
    if isinstance(column, list):
        return column
    listed: list[Any] = (column.to_pylist if hasattr(column, "to_pylist") else column.tolist)()
    return listed


def _refused(role: str, said: str, where: str) -> UserCodeError:
    place = f" ({where})" if where else ""
    return UserCodeError(
        Failure(
            kind="user",
            sentence=f"the batch {role} {said}: write {WRITE}{place}",
            where=where,
            hint=f"write {WRITE}",
        )
    )


def _hint(error: BaseException, table: Any) -> str:
    """A column that is not there, in the words of the three libraries."""
    names = ", ".join(table.column_names)
    lacks = isinstance(error, KeyError) or type(error).__name__ == "ColumnNotFoundError"
    return f"the table has the columns {names}" if lacks else ""
