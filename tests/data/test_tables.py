from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.data.batches import LineBatch
from mrkernel.data.tables import array_of, dicts, rows, table_of_items
from mrkernel.errors import InputError

plain = st.sampled_from(
    [st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.text(max_size=4)]
)


@given(plain.flatmap(lambda values: st.lists(st.none() | values, max_size=20)))
def test_arrays_hold_the_values_exactly(values: list[object]) -> None:
    array = array_of(values)
    array.validate(full=True)
    assert [(type(v), repr(v)) for v in array.to_pylist()] == [(type(v), repr(v)) for v in values]


@pytest.mark.parametrize("values", [[1, "x"], [2**64], ["\ud800"], [1, 2.5, object()], [{1: 2}]])
def test_what_no_array_holds(values: list[object]) -> None:
    with pytest.raises(InputError, match=r"no Arrow column can be made of 'item' from t\[3\] on"):
        table_of_items(values, "t[3]", "t")


def test_dicts_of_columns() -> None:
    names = ("a", "it's", 'x"y', "\n", "a")
    assert dicts(names, [[1], [2], [3], [4], [5]]) == [{"a": 5, "it's": 2, 'x"y': 3, "\n": 4}]
    assert dicts((), []) == []
    wide = [f"c{n}" for n in range(300)]
    assert rows(pa.table({name: [1] for name in wide})) == [dict.fromkeys(wide, 1)]


def test_items_of_one_kind_or_with_fields() -> None:
    assert table_of_items([], "", "t").num_rows == 0
    assert table_of_items([(1, 2)], "", "t").to_pylist() == [{"item": [1, 2]}]
    assert table_of_items([b"x", None], "", "t").to_pylist() == [{"item": b"x"}, {"item": None}]
    assert table_of_items([{"a": None}, {"b": 1}], "", "t").to_pylist() == [
        {"a": None, "b": None},
        {"a": None, "b": 1},
    ]


def test_lines_are_one_column() -> None:
    batch = LineBatch(["é", ""], "a.txt", 0, memoryview("é\n\n".encode()), "utf-8")
    assert batch.table().to_pylist() == [{"line": "é"}, {"line": ""}]


def test_plain_values_import_no_pandas() -> None:
    code = """
import sys
from mrkernel.data.tables import table_of_items
table_of_items([{"a": 1, "b": "x", "c": None}, {"a": 2, "b": None, "c": 1.5}], "", "t")
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
