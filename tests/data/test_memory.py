from __future__ import annotations

import datetime
import decimal
import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrkernel.data import memory
from mrkernel.data.memory import memory_splits
from mrkernel.data.records import Batch, open_split
from mrkernel.data.splits import MemorySplit
from mrkernel.errors import InputError


def batches(splits: list[MemorySplit], **options: Any) -> list[Batch]:
    return [batch for split in splits for batch in open_split(split, **options)]


def records(splits: list[MemorySplit], **options: Any) -> list[Any]:
    return [record for batch in batches(splits, **options) for record in batch.records]


def same(found: list[Any], expected: list[Any]) -> bool:
    """Whether the records are equal, of the same types and in the same order of fields."""
    return repr(found) == repr(expected)


scalars = st.sampled_from(
    [
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.int8(), st.integers(-128, 127)),
        (pa.float64(), st.floats()),
        (pa.float32(), st.floats(width=32)),
        (pa.bool_(), st.booleans()),
        (pa.string(), st.text(max_size=4)),
        (pa.large_string(), st.text(max_size=4)),
        (pa.binary(), st.binary(max_size=4)),
        (pa.date32(), st.dates()),
        (pa.timestamp("us"), st.datetimes()),
        (pa.decimal128(20, 2), st.integers(0, 999).map(lambda n: decimal.Decimal(n) / 100)),
        (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=3)),
        (pa.struct([("x", pa.int64())]), st.integers(0, 9).map(lambda n: {"x": n})),
        (pa.dictionary(pa.int32(), pa.string()), st.sampled_from("abc")),
    ]
)


@settings(max_examples=60)
@given(st.data(), st.integers(0, 9), st.sampled_from([None, 1, 40, 10**6]))
def test_rows_of_an_arrow_table_are_what_to_pylist_says(
    data: st.DataObject, size: int, split_size: int | None
) -> None:
    columns, names = [], []
    for number in range(data.draw(st.integers(0, 3))):
        kind, values = data.draw(scalars)
        listed = data.draw(st.lists(st.none() | values, min_size=size, max_size=size))
        columns.append(pa.array(listed, kind))
        free = [name for name in ("a", "b", "it's", 'c"d', f"n{number}") if name not in names]
        names.append(data.draw(st.sampled_from(free)))
    table = pa.Table.from_arrays(columns, names=names)
    splits = memory_splits(table, "t", split_size, 2)
    assert all(split.arrow for split in splits)
    assert same(records(splits), table.to_pylist())


def test_keys_labels_and_tables() -> None:
    table = pa.table({"a": range(10), "b": [str(n) for n in range(10)]})
    splits = memory_splits(table, "t", None, 2)
    assert [split.label for split in splits] == ["t[0:3]", "t[3:6]", "t[6:9]", "t[9:10]"]
    assert [key for batch in batches(splits) for key in list(batch.keys())] == [
        ("t", n) for n in range(10)
    ]
    second = batches(splits)[1]
    assert second.where(1) == "t[4]"
    assert second.table().to_pylist() == second.records == table.to_pylist()[3:6]
    assert pickle.dumps(table.to_pylist()[0])[:2] != (splits[0].data or b"")[:2]


def test_splits_of_tables_have_the_size_asked_for() -> None:
    table = pa.table({"a": range(10_000)})
    splits = memory_splits(table, "t", 8000, 2)
    assert len(splits) == 10
    assert max(split.nbytes for split in splits) <= 9000
    assert [split.count for split in memory_splits(table.slice(5, 3), "t", 1, 2)] == [1, 1, 1]


def test_frames_travel_as_arrow_where_rows_come_back_the_same() -> None:
    pandas = pytest.importorskip("pandas")
    import numpy as np

    size = memory._WORTH_ARROW
    frame = pandas.DataFrame(
        {
            "i": np.arange(size),
            "small": np.arange(size, dtype="int8"),
            "u": np.full(size, 2**64 - 1, dtype="uint64"),
            "f": [float("nan"), *[1.5] * (size - 1)],
            "f4": np.linspace(0, 1, size, dtype="float32"),
            "b": np.arange(size) % 2 == 0,
            "s": ["é", *["x"] * (size - 1)],
            "o": np.array(["x"] * size, dtype=object),
        }
    )
    splits = memory_splits(frame, "frame", None, 2)
    assert all(split.arrow for split in splits)
    assert same(records(splits), frame.to_dict("records"))
    assert not memory_splits(frame.head(10), "frame", None, 2)[0].arrow  # not worth it


@pytest.mark.parametrize(
    "values",
    [
        ["x", None],
        [{"a": 1}, 2],
        [datetime.date(2024, 1, 1)] * 2,
        ["x", float("nan")],
        ["\ud800", "x"],
    ],
)
def test_frames_with_python_objects_travel_as_they_did(values: list[Any]) -> None:
    pandas = pytest.importorskip("pandas")
    import numpy as np

    column = np.empty(memory._WORTH_ARROW, dtype=object)
    column[:] = "x"
    column[:2] = values
    frame = pandas.DataFrame({"o": pandas.Series(column, dtype=object)})
    splits = memory_splits(frame, "frame", None, 2)
    assert not any(split.arrow for split in splits)
    assert same(records(splits), frame.to_dict("records"))


def test_times_and_categories_of_frames_travel_as_they_did() -> None:
    pandas = pytest.importorskip("pandas")
    when = pandas.date_range("2024-01-01", periods=memory._WORTH_ARROW)
    frame = pandas.DataFrame({"t": when, "c": pandas.Categorical(["a"] * len(when))})
    splits = memory_splits(frame, "frame", None, 2)
    assert same(records(splits), frame.to_dict("records"))
    frame = pandas.DataFrame({1: range(memory._WORTH_ARROW)})
    assert records(memory_splits(frame, "frame", None, 2))[0] == {1: 0}


def test_frames_of_polars() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, None], "s": ["x", "y"]})
    splits = memory_splits(frame, "frame", None, 1)
    assert splits[0].arrow
    assert records(splits) == [{"a": 1, "s": "x"}, {"a": None, "s": "y"}]


def test_an_empty_table() -> None:
    (split,) = memory_splits(pa.table({"a": pa.array([], pa.int64())}), "t", None, 2)
    assert (split.count, records([split])) == (0, [])


def test_only_the_columns_asked_for() -> None:
    table = pa.table({"a": [1], "b": [2], "c": [3]})
    splits = memory_splits(table, "t", None, 1, ("c", "a"))
    assert [list(row.items()) for row in records(splits, columns=("c", "a"))] == [
        [("c", 3), ("a", 1)]
    ]
    items = [{"year": 1, "b": 2}, {"b": 3}]
    splits = memory_splits(items, "t", None, 1, ("year",))
    assert records(splits, columns=("year",)) == [{"year": 1}, {"year": None}]
    for given_ in (pa.table({"year": [1]}), items):
        with pytest.raises(InputError, match=r"t has no column 'yaer'.*did you mean 'year'\?"):
            memory_splits(given_, "t", None, 1, ("yaer",))
    with pytest.raises(InputError, match=r"t\[1\] is a int, which has no columns"):
        records(memory_splits([{"a": 1}, 2], "t", None, 1, ("a",)), columns=("a",))


def test_items_as_tables() -> None:
    (batch,) = batches(memory_splits([{"a": 1}, {"b": "x"}], "t", None, 1, None)[:1])
    assert batch.table().to_pylist() == [{"a": 1}]
    (batch,) = open_split(MemorySplit("t", 0, 2, pickle.dumps([{"a": 1}, {"b": "x"}])))
    assert batch.table().to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    (batch,) = open_split(MemorySplit("t", 5, 2, pickle.dumps(["x", "y"])))
    assert batch.table().to_pylist() == [{"item": "x"}, {"item": "y"}]
    (batch,) = open_split(MemorySplit("t", 5, 2, pickle.dumps([{"a": 1}, {"a": "x"}])))
    sentence = r"no Arrow column can be made of 'a' from t\[5\] on \(.*leave --batch out"
    with pytest.raises(InputError, match=sentence):
        batch.table()


def test_two_columns_of_one_name() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(InputError, match="two columns called 'a': rename one"):
        memory_splits(table, "t", None, 2)
