"""Records as they were read, whatever became of them; places; and records that come again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mrkernel.data import pickles
from mrkernel.data.head import head
from mrkernel.data.inputs import resolve
from mrkernel.data.records import Batch, Unreadable, open_split
from mrkernel.data.splits import MemorySplit

ROWS = [{"n": n, "name": f"row {n}", "list": [n]} for n in range(30)]
PLAIN = [{"n": row["n"], "name": row["name"]} for row in ROWS]


def in_memory(folder: Path) -> Any:
    return ROWS


def as_lines(folder: Path) -> Any:
    (folder / "a.txt").write_text("".join(f"line {n}\n" for n in range(30)))
    return str(folder / "a.txt")


def as_json(folder: Path) -> Any:
    # Blank lines are no records, and NaN is read by another decoder.
    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n\n" for row in ROWS) + "NaN\n")
    return str(folder / "a.jsonl")


def as_csv(folder: Path) -> Any:
    text = "".join(f"{row['n']},{row['name']}\n" for row in PLAIN)
    (folder / "a.csv").write_text("n,name\n" + text)
    return str(folder / "a.csv")


def as_large_csv(folder: Path) -> Any:
    text = "".join(f"{row['n']},{row['name']}\n" for row in PLAIN * 300)
    (folder / "b.csv").write_text("n,name\n" + text)
    return str(folder / "b.csv")


def as_table(folder: Path) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(PLAIN)


def as_parquet(folder: Path) -> Any:
    import pyarrow.parquet as pq

    pq.write_table(as_table(folder), folder / "a.parquet")
    return str(folder / "a.parquet")


def batches(given: Any, **options: Any) -> Iterator[Batch]:
    found = resolve([given], split_size=None, slots=1, columns=options.get("columns"))
    for split in found.splits:
        with open_split(split, schemas=found.schemas, **options) as reader:
            yield from reader


INPUTS = [in_memory, as_lines, as_json, as_csv, as_large_csv, as_table, as_parquet]


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("columns", [None, ("name", "n")])
def test_records_come_anew_as_they_were(
    tmp_path: Path, make: Callable[[Path], Any], columns: tuple[str, ...] | None
) -> None:
    given = make(tmp_path)
    if make in (as_lines, as_json):
        columns = None  # lines have none, and the file has a line that is no object
    for batch in batches(given, columns=columns):
        read = copy.deepcopy(batch.records)
        for record in batch.records:
            if isinstance(record, dict):
                record.get("list", []).append("changed")
                record.clear()
        for start, stop in ((0, len(batch)), (3, 4), (5, 9), (2, 2)):
            assert repr(batch.anew(start, stop)) == repr(read[start:stop])
        batch.anew(0, 1).clear()
        again = batch.anew(0, 2)
        if isinstance(again[0], dict):
            again[0]["changed"] = 1
        assert repr(batch.anew(0, 2)) == repr(read[:2])
        (short,) = head([batch], 5)
        assert repr(short.anew(1, 5)) == repr(read[1:5])


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
def test_a_place_that_costs_nothing_is_not_after_the_record(
    tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    batch = next(batches(make(tmp_path)))
    assert batch.near(0) == batch.where(0)
    near = batch.near(5)
    assert near in (batch.where(5), batch.where(0).replace(", byte", ", after byte"))
    batch.keys()
    assert batch.near(5) == batch.where(5)


def test_lines_that_are_no_json_stand_in_their_places(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a"\n5\n{"b": 2}\n')
    (batch,) = batches(str(path), unreadable=True)
    assert batch.records == [
        {"a": 1},
        Unreadable('{"a"', "not JSON, character 5 (Expecting ':' delimiter)"),
        5,
        {"b": 2},
    ]
    keys = batch.keys()
    assert [offset for _, offset in keys] == [0, 10, 15, 17]
    assert batch.anew(1, 3) == batch.records[1:3]
    split = resolve([str(path)], split_size=None, slots=1).splits[0]
    with open_split(split, columns=("a",), unreadable=True) as reader:
        (batch,) = reader
    assert batch.records == [
        {"a": 1},
        Unreadable('{"a"', "not JSON, character 5 (Expecting ':' delimiter)"),
        Unreadable("5", "no object (but int), so it has no columns"),
        {"a": None},
    ]
    assert batch.anew(0, 4) == batch.records


def test_records_that_come_again_have_their_old_keys_and_places() -> None:
    given = [
        ("a.txt, byte 17", pickles.dumps((("a.txt", 17), "a line"))),
        ("rows[3]", pickles.dumps((("rows", 3), {"n": [3]}))),
    ]
    data = pickles.dumps(given)
    split = MemorySplit("bad records", 0, 2, data, size=len(data), keyed=True)
    with open_split(split, columns=("n",)) as reader:
        (batch,) = reader
    assert batch.records == ["a line", {"n": [3]}]
    assert batch.keys() == [("a.txt", 17), ("rows", 3)]
    assert [batch.where(0), batch.where(1)] == ["a.txt, byte 17", "rows[3]"]
    batch.records[1]["n"].append(4)
    assert batch.anew(1, 2) == [{"n": [3]}]
