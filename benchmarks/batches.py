"""The six jobs as batch code: mappers over Arrow tables, keys and values as columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Columns = tuple[Any, Any]


def words(table: Any) -> Columns:
    """Mapper of lines: each word once."""
    import pyarrow.compute as pc

    found = pc.list_flatten(pc.utf8_split_whitespace(table["line"]))
    return found.filter(pc.not_equal(found, "")), 1


def scores(table: Any) -> Any:
    """Mapper of CSV rows: the years and their scores."""
    return table.select(["batch_year", "score"])


def records(table: Any) -> Columns:
    """Mapper of records: ten characters of key, a tab, the rest."""
    import pyarrow.compute as pc

    lines = table["line"]
    return pc.utf8_slice_codeunits(lines, 0, 10), pc.utf8_slice_codeunits(lines, 11)


def pairs(table: Any) -> Any:
    """Mapper of rows: key and value."""
    return table.select(["key", "value"])


BATCHES: dict[str, Callable[..., Any]] = {
    "wc": words,
    "stats": scores,
    "sort": records,
    "group": pairs,
}

#: Options of each that its ordinary code has not.
IN_BATCHES: dict[str, dict[str, Any]] = {
    "wc": {},
    "stats": {"format": "csv"},
    "sort": {},
    "group": {"format": "csv"},
}
