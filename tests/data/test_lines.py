from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mrkernel.data.lines import LINE_FORMATS, CsvLines, JsonLines, TextLines, UnfitCellError
from mrkernel.data.rendering import render, render_csv, render_json

pa = pytest.importorskip("pyarrow")

ARROW = {
    str: pa.large_string(),
    bytes: pa.large_binary(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}
CELL = {"text": render, "csv": render_csv, "jsonl": render_json}

texts = st.text(st.characters(codec="utf-8") | st.sampled_from('",\\\n\r\t\0 %'), max_size=6)
longs = st.integers(-(1 << 63), (1 << 63) - 1)
#: Floats of every size, and whole ones, which look different.
floats = st.floats() | st.integers(-(10**17), 10**17).map(float) | st.floats(1e-5, 1e11)
things = st.one_of(st.none(), texts, st.binary(max_size=4), longs, floats, st.booleans())


def columns(*kinds: Any) -> Any:
    """Several columns of one length: of one plain type each, or mixed."""
    return st.integers(1, 8).flatmap(
        lambda size: st.lists(
            st.one_of(*(st.lists(kind, min_size=size, max_size=size) for kind in kinds)),
            min_size=1,
            max_size=3,
        )
    )


def typed(cells: list[Any]) -> Any:
    """The same as an Arrow array, if all are of one plain type."""
    kinds = set(map(type, cells))
    kind = kinds.pop()
    return pa.array(cells, ARROW[kind]) if not kinds and kind in ARROW else cells


def singly(name: str, names: list[str], rows: list[list[Any]]) -> bytes:
    """One cell after the other, as the format's description has it."""
    render = CELL[name]
    if name == "jsonl":
        pairs = [zip(names, row, strict=True) for row in rows]
        cells = [[b"%b:%b" % (render_json(n), render(c)) for n, c in row] for row in pairs]
        return b"".join(b"{%b}\n" % b",".join(row) for row in cells)
    if name == "csv" and len(names) == 1:
        return b"".join((render(row[0]) or b'""') + b"\n" for row in rows)
    between = b"\t" if name == "text" else b","
    return b"".join(between.join(map(render, row)) + b"\n" for row in rows)


def held(name: str, table: list[list[Any]]) -> bool:
    if name != "jsonl":
        return True
    cells = [cell for column in table for cell in column]
    return not any(type(c) is bytes or (type(c) is float and not math.isfinite(c)) for c in cells)


@given(st.sampled_from(sorted(LINE_FORMATS)), columns(things, texts, st.binary(), longs, floats))
@example("csv", [[0.0, -0.0, 1e15, 123456789012345.5, 5e-324, math.inf, 0.5], ["a"] * 7])
@example(
    "text", [[math.nan, 1.0, 2.0, 0.25, 0.125, 1e-4, 9999999999.5], [True, False] * 3 + [True]]
)
def test_columns_give_the_bytes_of_cells(name: str, table: list[list[Any]]) -> None:
    names = [f'c{number} %"' for number in range(len(table))]
    lines = LINE_FORMATS[name](names)
    arrays = [typed(column) for column in table]
    if not held(name, table):
        for each in (table, arrays):
            with pytest.raises(UnfitCellError):
                lines.rows(each)
        return
    expected = singly(name, names, [list(row) for row in zip(*table, strict=True)])
    assert bytes(lines.rows(table)) == expected
    assert bytes(lines.rows(arrays)) == expected
    # Slices of arrays share their buffers with what is beside them.
    padded = [typed([column[0], *column, column[-1]]) for column in table]
    cut = [
        each[1:-1] if isinstance(each, list) else each.slice(1, len(each) - 2) for each in padded
    ]
    assert bytes(lines.rows(cut)) == expected


@given(columns(texts, longs, floats, st.booleans()))
def test_csv_is_what_python_reads(table: list[list[Any]]) -> None:
    names = [f"a,b {number}" for number in range(len(table))]
    lines = CsvLines(names)
    text = (lines.header + bytes(lines.rows([typed(c) for c in table]))).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == names
    for column, cells in zip(table, zip(*rows, strict=True), strict=True):
        for cell, item in zip(cells, column, strict=True):
            if type(item) is float:
                assert repr(float(cell)) == repr(item)
            elif type(item) is bool:
                assert cell == ("true" if item else "false")
            else:
                assert cell == str(item)


@given(columns(texts, longs, st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
def test_jsonl_is_what_python_reads(table: list[list[Any]]) -> None:
    names = [f'"{number}' for number in range(len(table))]
    text = bytes(JsonLines(names).rows([typed(c) for c in table])).decode()
    rows = [json.loads(line) for line in text.split("\n")[:-1]]
    assert rows == [dict(zip(names, row, strict=True)) for row in zip(*table, strict=True)]


def test_typed_columns_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("one by one")

    words = pa.array([f"w{n}" for n in range(9)], pa.large_string())
    quoted = pa.array([f'w"{n},\n' for n in range(9)], pa.large_string())
    numbers = pa.array([0.5 * n for n in range(9)])
    counts = pa.array(range(9), pa.int64())
    for each in (TextLines, CsvLines, JsonLines):
        lines = each(["a", "b", "c"])
        lines._each = refuse  # type: ignore[method-assign, assignment]
        for texts in (words, quoted):
            assert bytes(lines.rows([texts, numbers, counts])).count(b"0.5") == 1


def test_an_unfit_cell_is_named() -> None:
    with pytest.raises(UnfitCellError) as caught:
        JsonLines(["a", "b"]).rows([[1, 2, 3], [None, {1: b"x"}, b"y"]])
    assert (caught.value.column, caught.value.row) == (1, 1)
    assert str(caught.value) == "JSON has no bytes"
    with pytest.raises(UnfitCellError) as caught:
        JsonLines(["a", "b"]).rows([[1, 2], pa.array([0.5, math.nan])])
    assert (caught.value.column, caught.value.row) == (1, 1)


def test_no_rows() -> None:
    for each in (TextLines, CsvLines, JsonLines):
        assert each(["a", "b"]).rows([[], []]) == b""
    assert CsvLines(["a", "b,c"]).header == b'a,"b,c"\n'
    assert TextLines(["a"]).header == JsonLines(["a"]).header == b""
