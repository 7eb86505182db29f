"""Which columns of the input a mapper reads; the others are never made into values. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from mrkernel.errors import JobSpecError

_Mapper = TypeVar("_Mapper", bound=Callable[..., Any])
_MARK = "_mrkernel_reads"


def reads(*columns: str) -> Callable[[_Mapper], _Mapper]:
    """Say which columns a mapper reads: ``@mrkernel.reads("year", "score")``.

    Its records (or, with ``--batch``, its tables) then have only these columns, in this order;
    reading the others costs next to nothing. For inputs that have columns: CSV, Parquet, JSON
    lines, frames and Arrow tables.

    Args:
        columns: names of columns; at least one.

    Raises:
        JobSpecError: no name is given, or one is no text.
    """
    if len(columns) == 1 and callable(columns[0]):
        raise JobSpecError('@mrkernel.reads needs names: write @mrkernel.reads("year", "score")')
    if not columns or not all(isinstance(name, str) for name in columns):
        raise JobSpecError(
            f"mrkernel.reads({', '.join(map(repr, columns))}): give the columns' names as texts, "
            'such as mrkernel.reads("year", "score")'
        )

    def mark(mapper: _Mapper) -> _Mapper:
        setattr(mapper, _MARK, tuple(dict.fromkeys(columns)))
        return mapper

    return mark


def columns_read(mapper: Any) -> tuple[str, ...] | None:
    """Return the columns that a mapper says it reads; None: it did not say."""
    while isinstance(mapper, partial):
        mapper = mapper.func
    found: tuple[str, ...] | None = getattr(mapper, _MARK, None)
    return found
