from __future__ import annotations

import datetime
import io
from typing import Any

import pytest

pa = pytest.importorskip("pyarrow")

import pyarrow.parquet as pq  # noqa: E402

from mrkernel.data import parquet_writer  # noqa: E402
from mrkernel.data.parquet_writer import (  # noqa: E402
    ParquetWriter,
    UnfitColumnError,
    joined_types,
    to_arrays,
)


def through(*blocks: list[Any]) -> Any:
    """Write columns, block by block, and read the table back."""
    width = len(blocks[0])
    types = [pa.null()] * width
    for block in blocks:
        types = joined_types(types, [array.type for array in to_arrays(block)])
    file = io.BytesIO()
    names = [f"c{number}" for number in range(width)]
    writer = ParquetWriter(file, names, types)
    for block in blocks:
        writer.add(to_arrays(block))
    writer.close()
    return pq.read_table(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a", "é", None], pa.string()),
        ([b"a", b"\xff"], pa.binary()),
        ([1, -(1 << 63), None], pa.int64()),
        ([0.5, float("inf")], pa.float64()),
        ([True, None], pa.bool_()),
        ([None], pa.null()),
        ([[1], [], None], pa.list_(pa.field("element", pa.int64()))),
        ([{"a": 1}], pa.struct([("a", pa.int64())])),
        ([datetime.date(2020, 1, 2)], pa.date32()),
    ],
)
def test_types_come_from_the_values(cells: list[Any], kind: Any) -> None:
    table = through([cells])
    assert table.schema.field(0).type == kind
    assert table.column(0).to_pylist() == cells


def test_arrow_columns_and_lists_of_one_type_make_one() -> None:
    blocks = [[pa.array(["a"], pa.large_string()), pa.array([1])], [["b"], [2]], [[None], [None]]]
    table = through(*blocks)
    assert table.schema.types == [pa.string(), pa.int64()]
    assert table.to_pydict() == {"c0": ["a", "b", None], "c1": [1, 2, None]}


def test_ints_beside_floats_are_floats_where_they_are_exact() -> None:
    assert through([[1, 2.5]], [[3]], [[None]]).column(0).to_pylist() == [1.0, 2.5, 3.0, None]
    assert through([[3]], [[0.5]]).column(0).to_pylist() == [3.0, 0.5]
    for blocks in ([[[1 << 60, 0.5]]], [[[(1 << 60) + 1]], [[0.5]]]):
        with pytest.raises(UnfitColumnError):
            through(*blocks)


def test_sets_are_sorted_lists() -> None:
    assert through([[{3, 1, 2}, frozenset()]]).column(0).to_pylist() == [[1, 2, 3], []]


@pytest.mark.parametrize(
    "blocks",
    [
        [[[1, "a"]]],
        [[[1]], [["a"]]],
        [[[True, 1]]],
        [[[True]], [[1]]],
        [[[b"a", "a"]]],
        [[[b"a"]], [["a"]]],
        [[[1 << 63]]],
        [[["\ud800"]]],
        [[[1 + 2j]]],
    ],
)
def test_no_type_in_common_is_told(blocks: Any) -> None:
    with pytest.raises(UnfitColumnError) as caught:
        through(*blocks)
    assert caught.value.column == 0
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_blocks_are_gathered_into_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_writer, "GROUP_ROWS", 10)
    file = io.BytesIO()
    writer = ParquetWriter(file, ["n"], [pa.int64()])
    for start in range(0, 24, 4):
        writer.add(to_arrays([list(range(start, start + 4))]))
    writer.close()
    read = pq.ParquetFile(io.BytesIO(file.getvalue()))
    assert read.read().column(0).to_pylist() == list(range(24))
    groups = [read.metadata.row_group(n).num_rows for n in range(read.num_row_groups)]
    assert groups == [10, 2, 10, 2]


def test_no_rows_are_a_file_too() -> None:
    file = io.BytesIO()
    ParquetWriter(file, ["a", "b"], [pa.null(), pa.string()]).close()
    table = pq.read_table(io.BytesIO(file.getvalue()))
    assert (table.num_rows, table.column_names) == (0, ["a", "b"])
