"""Batch mappers: tables in, keys and values out, and what is neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from mrkernel.data.records import ItemBatch
from mrkernel.errors import JobSpecError
from mrkernel.job.batch_mapping import BatchMapCall, frame_kind
from mrkernel.job.failure import UserCodeError
from mrkernel.job.projection import columns_read, reads

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

ROWS = [{"year": 2000 + n % 3, "score": n / 2, "name": f"n{n}"} for n in range(10)]
YEARS = [row["year"] for row in ROWS]
SCORES = [row["score"] for row in ROWS]


def pairs_of(mapper: Any) -> list[tuple[Any, Any]]:
    return BatchMapCall(mapper).try_rows(ItemBatch(ROWS, "rows"), len(ROWS))


def selects(table: Any) -> Any:
    return table.select(["year", "score"])


def yields_tables(table: Any) -> Iterator[Any]:
    yield table.slice(0, 4).select(["year", "score"])
    yield table.slice(4).select(["year", "score"])


def yields_arrays(table: Any) -> Iterator[Any]:
    yield table["year"], table["score"]


def returns_arrays(table: Any) -> Any:
    return table["year"].combine_chunks(), table["score"]


def returns_lists(table: Any) -> Any:
    return table["year"].to_pylist(), table["score"].to_pylist()


def returns_numpy(table: Any) -> Any:
    years = np.array(table["year"].to_pylist(), np.int32)
    return years, np.array(table["score"].to_pylist())


def takes_pandas(frame: pd.DataFrame) -> Any:
    return frame[["year", "score"]]


def gives_series(frame: pd.DataFrame) -> Iterator[Any]:
    yield frame["year"], frame["score"]


def takes_polars(frame: pl.DataFrame) -> Any:
    return frame.select("year", "score")


@pytest.mark.parametrize(
    "mapper",
    [
        *(selects, yields_tables, yields_arrays, returns_arrays, returns_lists, returns_numpy),
        *(takes_pandas, gives_series, takes_polars),
    ],
)
def test_every_way_to_give_keys_and_values(mapper: Any) -> None:
    pytest.importorskip("polars") if mapper is takes_polars else None
    assert pairs_of(mapper) == list(zip(YEARS, SCORES, strict=True))


def test_what_a_group_by_of_pandas_gives_is_taken_as_it_is() -> None:
    def summed(frame: pd.DataFrame) -> Any:
        return frame.groupby("year").score.sum()

    expected: dict[int, float] = {}
    for year, score in zip(YEARS, SCORES, strict=True):
        expected[year] = expected.get(year, 0.0) + score
    assert dict(pairs_of(summed)) == expected


def test_arrays_and_lists_may_be_filled_again() -> None:
    def mapper(table: Any) -> Iterator[Any]:
        numbers, texts = np.zeros(2, np.int64), ["", ""]
        for n in range(3):
            numbers[:] = n
            texts[:] = [str(n)] * 2
            yield texts, numbers

    assert pairs_of(mapper) == [(str(n), n) for n in (0, 0, 1, 1, 2, 2)]


@pytest.mark.parametrize(
    "values",
    [[1, 2.5], [(1, 2), (3, 4)], [{1}, {2}], [{"a": 1}, {"b": 2}], [1, "a"], [2**70, 1], [None, 1]],
)
def test_objects_of_a_pandas_series_stay_as_they_are(values: list[Any]) -> None:
    import pandas as pd

    series = pd.Series(values, dtype=object)
    assert pairs_of(lambda table: (["k"] * 2, series)) == [("k", value) for value in values]
    frame = pd.DataFrame({"key": ["k"] * 2, "value": series})
    assert pairs_of(lambda table: frame) == [("k", value) for value in values]


def test_nan_is_a_number_and_a_mask_is_none() -> None:
    import pandas as pd

    numbers = [1.0, float("nan")]
    for column in (pd.Series(numbers), np.array(numbers)):
        assert str(pairs_of(lambda table, c=column: (["k"] * 2, c))) == "[('k', 1.0), ('k', nan)]"
    masked = np.ma.array([1, 2], mask=[False, True])
    assert pairs_of(lambda table: (["k"] * 2, masked)) == [("k", 1), ("k", None)]


def test_all_columns_but_the_last_are_the_key() -> None:
    made = pairs_of(lambda table: table.select(["year", "name", "score"]))
    assert made[1] == ((2001, "n1"), 0.5)


def test_one_key_or_value_stands_for_all() -> None:
    assert pairs_of(lambda table: (table["year"], 1)) == [(year, 1) for year in YEARS]
    assert pairs_of(lambda table: ("all", table["score"])) == [("all", x) for x in SCORES]
    assert pairs_of(lambda table: ("rows", table.num_rows)) == [("rows", 10)]
    assert pairs_of(lambda table: (table["year"], 1 << 70))[9] == (YEARS[9], 1 << 70)


def test_nothing_is_given() -> None:
    assert pairs_of(lambda table: None if table.num_rows else table) == []
    assert pairs_of(lambda table: []) == []


def test_a_class_gives_what_it_kept_at_its_end() -> None:
    class Counts:
        def __init__(self) -> None:
            self.rows = 0

        def __call__(self, table: Any) -> list[Any]:
            self.rows += table.num_rows
            return []

        def finish(self) -> Any:
            return ["rows"], [self.rows]

    call = BatchMapCall(Counts)
    assert call.columns(ItemBatch(ROWS, "rows")) == []
    assert call.finish() == [(["rows"], [10])]


@pytest.mark.parametrize(
    ("mapper", "said"),
    [
        (lambda table: table.select(["year"]), "gives a table of 1 columns"),
        (lambda table: (table["year"],), "gives a tuple of 1"),
        (lambda table: {"year": 1}, "gives a dict"),
        (lambda table: 5, "gives an int"),
        (lambda table: ({}, [1]), "gives {} .a dict. as a column"),
        (lambda table: ([1, 2], [1]), "gives 2 keys and 1 values"),
        (lambda table: (np.ones((2, 2)), [1, 2]), "an array of 2 dimensions"),
        (lambda table: [table["year"]], "gives a ChunkedArray"),
        (lambda table: table["yaer"], "the table has the columns year, score, name"),
        (lambda table: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_what_is_no_keys_and_values(mapper: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(UserCodeError, match=said) as caught:
        pairs_of(mapper)
    assert "rows[0]" in str(caught.value)


def test_a_batch_mapper_takes_one_table() -> None:
    with pytest.raises(JobSpecError, match=r"takes one argument.*write def mapper\(table\)"):
        BatchMapCall(lambda key, table: table)


def test_the_kind_of_frame_is_read_from_the_annotation() -> None:
    def live(frame: pa.Table) -> None: ...

    live.__annotations__["frame"] = pa.Table
    assert [frame_kind(f) for f in (live, takes_pandas, takes_polars, len)] == [
        *("arrow", "pandas", "polars", "arrow"),
    ]


def test_a_mapper_says_which_columns_it_reads() -> None:
    @reads("score", "year", "score")
    def mapper(table: Any) -> None: ...

    assert columns_read(mapper) == ("score", "year")
    assert columns_read(selects) is None


@pytest.mark.parametrize("columns", [(), (1,), (selects,)])
def test_columns_need_names(columns: Any) -> None:
    with pytest.raises(JobSpecError, match="names"):
        reads(*columns)
