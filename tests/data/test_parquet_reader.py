from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrkernel.data.inputs import Inputs, resolve
from mrkernel.data.records import open_split
from mrkernel.data.splits import PackedSplit, ParquetSplit, plan_groups
from mrkernel.errors import InputError

ROWS = [{"n": n, "s": f"s{n}", "when": datetime.date(2024, 1, 1 + n % 28)} for n in range(1000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "a.parquet")


def write(path: Path, rows: list[Any] | None = None) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS if rows is None else rows), path, row_group_size=100)
    return path


def read(found: Inputs, **options: Any) -> list[tuple[tuple[str, int], Any]]:
    pairs = []
    for split in found.splits:
        for batch in open_split(split, schemas=found.schemas, **options):
            pairs += zip(batch.keys(), batch.records, strict=True)
    return pairs


def test_rows_are_dicts_and_keys_are_row_numbers(path: Path) -> None:
    found = resolve([path])
    (split,) = found.splits
    assert isinstance(split, ParquetSplit)
    assert split.label == "a.parquet rows 0–1,000"
    assert read(found) == [((str(path), n), row) for n, row in enumerate(ROWS)]


@pytest.mark.parametrize("pieces", [4, 1000])
def test_splits_are_whole_row_groups(path: Path, pieces: int) -> None:
    found = resolve([path], split_size=path.stat().st_size // pieces)
    splits = [split for split in found.splits if isinstance(split, ParquetSplit)]
    assert [split.first for split in splits][:2] == [0, splits[0].rows]
    assert all(split.rows % 100 == 0 for split in splits)
    assert 3 <= len(splits) <= 5 if pieces == 4 else len(splits) == 10
    assert sum(split.nbytes for split in splits) <= path.stat().st_size
    assert [row for _, row in read(found)] == ROWS


def test_groups_make_splits_of_about_the_size_asked_for() -> None:
    assert plan_groups([], 10) == []
    assert plan_groups([5] * 5, 10) == [(0, 2), (2, 4), (4, 5)]
    assert plan_groups([100, 1, 1, 100], 10) == [(0, 1), (1, 3), (3, 4)]


def test_small_files_share_a_task(tmp_path: Path) -> None:
    for number in range(9):
        write(tmp_path / f"{number}.parquet")
    found = resolve([tmp_path])
    assert len(found.splits) < 9
    assert isinstance(found.splits[0], PackedSplit)
    assert [row for _, row in read(found)] == ROWS * 9


def test_only_the_columns_asked_for(path: Path) -> None:
    found = resolve([path], columns=("s", "n"))
    records = [row for _, row in read(found, columns=("s", "n"))]
    assert [list(row.items()) for row in records[:2]] == [
        [("s", "s0"), ("n", 0)],
        [("s", "s1"), ("n", 1)],
    ]
    sentence = r"a\.parquet has no column 'm'; it has n, s, when"
    with pytest.raises(InputError, match=sentence):
        resolve([path], columns=("m",))


def test_tables(path: Path) -> None:
    (split,) = resolve([path]).splits
    (batch,) = open_split(split)
    assert batch.table().schema.field("when").type == pa.date32()
    assert batch.where(7) == f"{path}, row 7"
    assert batch.key(7) == (str(path), 7)


def test_files_without_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").touch()
    assert read(resolve([tmp_path])) == []


def test_what_is_no_parquet(path: Path) -> None:
    path.write_bytes(b"PAR1 is what it begins with")
    with pytest.raises(InputError, match=r"a\.parquet is not a Parquet file that can be read"):
        resolve([path])
    text = path.with_name("a.txt")
    text.write_text("lines\n")
    with pytest.raises(InputError, match=r"a\.txt is not a Parquet file that can be read"):
        resolve([text], format="parquet")


def test_a_broken_page_is_found_where_it_is_read(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4:60] = bytes(56)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet is not a Parquet file that can be read"):
        read(resolve([path]))


def test_a_file_that_changed(path: Path) -> None:
    found = resolve([path])
    write(path, ROWS[:10])
    with pytest.raises(InputError, match=r"a\.parquet changed after the job began"):
        read(found)


def test_a_reader_leaves_the_costly_parts_of_arrow_alone(path: Path) -> None:
    code = f"""
import sys
from mrkernel.data.inputs import resolve
from mrkernel.data.records import open_split
for split in resolve([{str(path)!r}]).splits:
    for batch in open_split(split, columns=("n", "s")):
        batch.records, batch.table()
print(*sorted({{"pandas", "pyarrow.dataset", "pyarrow.acero"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
