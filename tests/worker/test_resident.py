"""Input that stays in a runner: read once, the same records for ever, within its limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mrkernel.data.inputs import resolve
from mrkernel.data.records import RecordReader, open_split
from mrkernel.worker.resident import FACTOR, Resident

MUCH = 1 << 30


class Input:
    """A file that counts how often it is read."""

    def __init__(self, path: Path) -> None:
        found = resolve([path])
        self.split, self.schemas = found.splits[0], found.schemas
        self.reads = 0

    def read(self) -> RecordReader:
        self.reads += 1
        return open_split(self.split, schemas=self.schemas, block=100)


def records(reader: RecordReader) -> list[tuple[Any, str]]:
    with reader:
        return [
            (record, batch.where(index))
            for batch in reader
            for index, record in enumerate(batch.records)
        ]


@pytest.mark.parametrize("kind", ["txt", "csv", "parquet"])
@pytest.mark.parametrize("rows", [3, 3000])
def test_what_is_read_again_is_the_same_and_read_once(tmp_path: Path, kind: str, rows: int) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"n": range(rows)}), path)
    else:
        path.write_text("n,m\n" + "".join(f"{n},{n * n}\n" for n in range(rows)))
    given, here = Input(path), Resident()
    first = records(here.open(b"k", MUCH, given.read))
    assert records(here.open(b"k", MUCH, given.read)) == first
    for batch in here.open(b"k", MUCH, given.read):
        for record in batch.records:
            if isinstance(record, dict):
                record.clear()  # a mapper may do that
        batch.records.clear()
    assert records(here.open(b"k", MUCH, given.read)) == first
    assert given.reads == 1
    assert here.nbytes > 0


def test_what_a_mapper_could_change_is_read_each_time(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": [1]}\n')
    given, here = Input(tmp_path / "a.jsonl"), Resident()
    for times in (1, 2):
        assert records(here.open(b"k", MUCH, given.read))[0][0] == {"n": [1]}
        assert given.reads == times
    assert here.nbytes == 0


def test_the_limit_holds_and_what_was_used_last_stays(tmp_path: Path) -> None:
    inputs = {}
    for name in "abcd":
        (tmp_path / name).write_text("x" * 99 + "\n")
        inputs[name] = Input(tmp_path / name)
    here, limit = Resident(), 2 * FACTOR * 100
    for name in "abacab":
        records(here.open(name.encode(), limit, inputs[name].read))
        assert here.nbytes <= limit
    assert {name: each.reads for name, each in inputs.items()} == {"a": 1, "b": 2, "c": 1, "d": 0}
    big = Input(tmp_path / "d")
    records(here.open(b"d", 100, big.read))
    records(here.open(b"d", 100, big.read))
    assert big.reads == 2


def test_half_a_split_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 60 + "\n" + "y" * 60 + "\n" + "z" * 200 + "\n")
    given, here = Input(tmp_path / "a.txt"), Resident()
    with here.open(b"k", MUCH, given.read) as reader:
        next(iter(reader))
    assert here.nbytes == 0
    assert len(records(here.open(b"k", MUCH, given.read))) == 3
