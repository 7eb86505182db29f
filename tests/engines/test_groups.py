"""What a reducer holds in its hands, and what a mapper is told about its records."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from jobs import looks
from oracle import exactly

import mrkernel
from mrkernel.errors import TaskFailedError
from mrkernel.shuffle.values import Values


def test_values_are_one_class_that_can_be_read_again(place: Any) -> None:
    groups: dict[str, list[int]] = {}
    for key, value in looks.numbered(9):
        groups.setdefault(key, []).append(value)
    found = mrkernel.run(looks.numbered, [9], looks.looked_at, on=place).to_dict()
    assert found == {key: looks.looked_at(key, Values(values)) for key, values in groups.items()}
    assert found["k9"]["type"] == "mrkernel.shuffle.values.Values"
    assert found["k2"] | {"type": "", "shown": ""} == {
        "type": "",
        "length": 2,
        "truth": True,
        "again": True,
        "in step": [2, 4],
        "nested": 9,
        "has": (True, False),
        "shown": "",
    }


def test_unread_values_do_not_disturb_the_next_group(place: Any) -> None:
    found = mrkernel.run(looks.numbered, [12], looks.half_read, on=place, reduce_tasks=1).to_dict()
    groups = dict.fromkeys((key for key, _ in looks.numbered(12)), 0)
    every = list(looks.numbered(12))
    for key in groups:
        mine = [value for k, value in every if k == key]
        assert found[key] == (mine[: len(mine) // 2] if len(mine) % 3 else [])


def test_values_end_with_the_call(place: Any) -> None:
    found = mrkernel.run(looks.numbered, [3], looks.Keeps, on=place, reduce_tasks=1).to_dict()
    told = "these values ended with the reducer's call: write list(values) in it to keep them"
    assert found == {
        "k1": [],
        "k2": [told, told, "gave '<Values, closed>'", told],
        "k3": [told, told, "gave '<Values, closed>'", told],
    }


def test_an_index_is_refused_with_what_to_write(place: Any) -> None:
    with pytest.raises(TaskFailedError, match=r"write list\(values\)\[\.\.\.\]"):
        mrkernel.run(looks.numbered, [3], looks.index, on=place)


@pytest.mark.fault(27, 44)
@pytest.mark.parametrize("memory", [None, "64K", "1M"])
def test_a_group_larger_than_memory_is_read_again_from_disk(place: Any, memory: Any) -> None:
    options = {"slot_memory": memory, "reduce_tasks": 1, "split_size": 1}
    result = mrkernel.run(looks.large, [0, 1, 2], looks.read_twice, on=place, **options)
    assert list(result) == [
        ("a", (3, b"0", b"2", True)),
        ("m", (4500, b"0,0" + bytes(4), b"2,1499\x00", True)),
        ("z", (3, b"0", b"2", True)),
    ]


@pytest.mark.parametrize("memory", [1, "2K", "20K", None])
def test_spills_change_nothing(place: Any, memory: Any) -> None:
    def many(turn: int) -> Iterator[tuple[Any, Any]]:
        for n in range(3000):
            yield (n * 31 + turn) % 97, (turn, n)

    options = {"slot_memory": memory, "split_size": 1, "reduce_tasks": 3}
    result = mrkernel.run(many, [0, 1], "list", on=place, **options)
    pairs = [pair for turn in (0, 1) for pair in many(turn)]
    assert list(result) == [(k, [v for key, v in pairs if key == k]) for k in range(97)]


@pytest.mark.parametrize("mapper", [looks.place_of, looks.PlaceOf])
def test_a_mapper_with_two_arguments_is_told_where_its_record_is(
    place: Any, tmp_path: Path, mapper: Any
) -> None:
    text = "é\r\n\ntwo words\nlast"
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfbom\n")
    found = mrkernel.run(mapper, tmp_path, "first", on=place, split_size=3).to_dict()
    a, b = str(tmp_path / "a.txt"), str(tmp_path / "b.txt")
    assert found == {(a, 0): "é", (a, 4): "", (a, 5): "two words", (a, 15): "last", (b, 0): "bom"}


def test_items_are_told_by_name_and_index(place: Any) -> None:
    result = mrkernel.run(looks.place_of, (x for x in "abc"), "none", on=place, split_size=1)
    assert list(result) == [(("input", 0), "a"), (("input", 1), "b"), (("input", 2), "c")]


def test_rows_of_tables_are_dicts(place: Any) -> None:
    columns = {
        "k": ["a", "b", "a"],
        "n": [1, 2, 3],
        "x": [0.5, -0.0, 1.5],
        "ok": [True, False, True],
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def mapper(row: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
        yield row["k"], row

    for table in (pd.DataFrame(columns), pa.table(columns), rows, tuple(rows), iter(rows)):
        found = mrkernel.run(mapper, table, "list", on=place).to_dict()
        assert exactly(found) == exactly({"a": [rows[0], rows[2]], "b": [rows[1]]})


def test_inputs_of_several_kinds_are_read_in_order(place: Any, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("one\ntwo")
    (tmp_path / "a.txt").write_text("three")
    (tmp_path / "_hidden").write_text("no")
    inputs = [str(tmp_path / "b.txt"), range(2), tmp_path, str(tmp_path / "*.txt"), iter(["x"])]
    result = mrkernel.run(lambda record: [(record, 0)], inputs, "none", on=place)
    files = ["three", "one", "two"]
    assert [key for key, _ in result] == ["one", "two", 0, 1, *files, *files, "x"]


def test_stats(place: Any) -> None:
    pairs = [("a", 1), ("a", 2), ("a", 4), ("b", -0.5)]
    found = mrkernel.run(lambda record: pairs, [0], "stats", on=place).to_dict()
    a = {
        "count": 3,
        "sum": 7,
        "min": 1,
        "max": 4,
        "mean": 7 / 3,
        "std": statistics.stdev([1, 2, 4]),
    }
    assert found["a"] == pytest.approx(a)
    b = {"count": 1, "sum": -0.5, "min": -0.5, "max": -0.5, "mean": -0.5, "std": None}
    assert found["b"] == b
