from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest

from mrkernel.data.row_shape import RowShape
from mrkernel.errors import JobSpecError

Point = namedtuple("Point", "x y")
Rows = list[list[Any]]


def table(
    pairs: list[tuple[Any, Any]], columns: list[str] | None = None
) -> tuple[tuple[str, ...], Rows]:
    """Names and rows, found pair by pair."""
    shape = RowShape()
    for key, value in pairs:
        shape = shape.joined(RowShape.of([key], [value]))
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    assert shape == RowShape.of(keys, values)
    assert shape.joined(RowShape.of(keys[:1], values[:1])) == shape
    fitted = shape.fitted(columns)
    names = fitted.names(columns)
    cells = fitted.cells(keys, values, len(names))
    return names, [list(row) for row in zip(*cells, strict=True)]


@pytest.mark.parametrize(
    ("pairs", "names", "rows"),
    [
        ([("a", 1), ("b", None)], "key value", [["a", 1], ["b", None]]),
        ([(("a", 1), 2)], "key_1 key_2 value", [["a", 1, 2]]),
        ([("a", (1, 2)), ("b", None)], "key value_1 value_2", [["a", 1, 2], ["b", None, None]]),
        ([(("a",), (1,))], "key value", [["a", 1]]),
        ([("a", Point(1, 2))], "key x y", [["a", 1, 2]]),
        ([("a", Point(1, 2)), ("b", (3, 4))], "key value_1 value_2", [["a", 1, 2], ["b", 3, 4]]),
        (
            [("a", {"n": 1, "m": 2}), ("b", {"m": 3, "k": 4}), ("c", None)],
            "key n m k",
            [["a", 1, 2, None], ["b", None, 3, 4], ["c", None, None, None]],
        ),
        ([("a", {"key": 1, 2: 3})], "key value_key 2", [["a", 1, 3]]),
        ([("a", {1: 2, "1": 3})], "key 1 value_1", [["a", 2, 3]]),
        ([("a", [1, 2]), ("b", [3, 4])], "key value", [["a", [1, 2]], ["b", [3, 4]]]),
        ([("a", None)], "key value", [["a", None]]),
        ([("a", {})], "key", [["a"]]),
        # No table holds them apart: each is one cell.
        ([("a", (1, 2)), ("b", (1,))], "key value", [["a", (1, 2)], ["b", (1,)]]),
        ([("a", (1, 2)), ("b", 3)], "key value", [["a", (1, 2)], ["b", 3]]),
        ([("a", {"k": 1}), ("b", 3)], "key value", [["a", {"k": 1}], ["b", 3]]),
        ([("a", 1), ((), 2), (("a", 1), 3)], "key value", [["a", 1], [(), 2], [("a", 1), 3]]),
        ([("a", ())], "key value", [["a", ()]]),
    ],
)
def test_columns(pairs: list[tuple[Any, Any]], names: str, rows: Rows) -> None:
    assert table(pairs) == (tuple(names.split()), rows)


def test_no_pairs() -> None:
    assert RowShape().names() == ("key", "value")
    assert RowShape().names(["a", "b", "c"]) == ("a", "b", "c")
    assert RowShape().cells([], [], 3) == [[], [], []]


def test_names_of_the_user() -> None:
    assert table([(("a", 1), (2, 3))], ["w", "x", "y", "z"]) == (
        ("w", "x", "y", "z"),
        [["a", 1, 2, 3]],
    )
    # None alone says not how many cells it stands for.
    assert table([("a", None)], ["x", "y", "z"]) == (("x", "y", "z"), [["a", None, None]])


def test_lists_fill_columns_where_the_names_ask_for_it() -> None:
    pairs = [("a", [1, 2]), ("b", [3, 4])]
    assert table(pairs, ["k", "x", "y"]) == (("k", "x", "y"), [["a", 1, 2], ["b", 3, 4]])
    assert table(pairs, ["k", "v"]) == (("k", "v"), [["a", [1, 2]], ["b", [3, 4]]])
    with pytest.raises(JobSpecError, match=r"^--columns has 3 names and the rows have 2 columns"):
        table([("a", [1, 2]), ("b", [3])], ["k", "x", "y"])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_another_number_of_names_is_told(count: int) -> None:
    said = (
        rf"^--columns has {count} names? and the rows have 3 columns \(key, min, max\): "
        "give 3 names$"
    )
    with pytest.raises(JobSpecError, match=said):
        table([("a", {"min": 1, "max": 2})], [f"c{n}" for n in range(count)])


def test_arrow_columns_are_plain_cells() -> None:
    pa = pytest.importorskip("pyarrow")
    numbers = pa.array([1, 2])
    shape = RowShape.of(numbers, ["a", "b"])
    assert shape == RowShape.of([1], ["a"])
    assert shape.cells(numbers, ["a", "b"], 2) == [numbers, ["a", "b"]]


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        (1, {1: True, 2: False, 3: True}),
        ((1, 2), {2: True, 3: False, 4: True}),
        # Other dicts may have more fields, and lists fill what they are asked to.
        ({"a": 1, "b": 2}, {2: True, 3: False, 4: False}),
        ([1, 2], {1: False, 2: False, 3: False, 4: False}),
        (None, {1: False, 9: False}),
    ],
)
def test_what_a_few_pairs_tell_of_the_names(value: Any, refused: dict[int, bool]) -> None:
    shape = RowShape.of(["key"], [value])
    for count, wrong in refused.items():
        names = [f"c{n}" for n in range(count)]
        if wrong:
            with pytest.raises(JobSpecError, match=f"^--columns has {count} name"):
                shape.refuse(names)
        else:
            shape.refuse(names)


def test_fields_by_name() -> None:
    shape = RowShape.of(["a"], [{Point: 1, 2: 3}]).named()
    assert shape.names() == ("key", str(Point), "2")
