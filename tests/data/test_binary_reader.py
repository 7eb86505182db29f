"""Files as bytes: whole, and in records of one size."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrkernel.data.inputs import resolve
from mrkernel.data.records import open_split
from mrkernel.errors import InputError


def batches(*inputs: Any, block: int = 1 << 20, **options: Any) -> list[Any]:
    found = []
    for split in resolve(inputs, **options).splits:
        with open_split(split, block=block) as reader:
            found += list(reader)
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 40),
    width=st.integers(1, 9),
    split_size=st.integers(1, 50) | st.none(),
    block=st.integers(1, 60),
)
def test_any_cut_gives_the_same_records(
    tmp_path: Path, count: int, width: int, split_size: int | None, block: int
) -> None:
    data = bytes(n % 251 for n in range(count * width))
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    found = batches(path, format=f"fixed:{width}", split_size=split_size, block=block)
    places = range(0, len(data), width)
    records = [record for batch in found for record in batch.records]
    assert records == [data[at : at + width] for at in places]
    keys = chain.from_iterable(batch.keys() for batch in found)
    assert list(keys) == [(str(path), at) for at in places]
    for batch in found:
        last = len(batch) - 1
        assert batch.key(last) == batch.keys()[last]
        assert batch.anew(last, last + 1) == batch.records[last:]
        assert batch.where(0) == f"{path}, byte {batch.key(0)[1]}"
        assert batch.table().to_pydict() == {"record": batch.records}
    assert sum(batch.nbytes for batch in found) == len(data)


def test_what_is_left_over_is_refused_before_the_job(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1003)
    with pytest.raises(InputError, match=r"a has 1,003 bytes, and 3 are left over .* of 10: give"):
        resolve([tmp_path / "a"], format="fixed:10")


def test_what_is_left_over_in_a_compressed_file_is_found_at_its_end(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x" * 1003))
    with pytest.raises(InputError, match="has 1,003 bytes, and 3 are left over"):
        batches(tmp_path / "a.gz", format="fixed:10")


def test_each_file_is_a_record_an_empty_one_too(tmp_path: Path) -> None:
    contents = {"a.zip": b"PK\x03\x04", "b": b"", "c.csv": b"\x00\xff\n\x1f\x8b", "d": b"x" * 9}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    found = batches(tmp_path, format="whole", split_size=2)
    assert [batch.records for batch in found] == [[data] for data in contents.values()]
    assert [batch.key(0) for batch in found] == [(str(tmp_path / name), 0) for name in contents]
    assert [batch.keys() for batch in found] == [[batch.key(0)] for batch in found]


@pytest.mark.parametrize("format", ["whole", "fixed:2"])
def test_bytes_have_no_columns(tmp_path: Path, format: str) -> None:
    (tmp_path / "a").write_bytes(b"xy")
    with pytest.raises(InputError, match="is read as bytes, which have no columns"):
        resolve([tmp_path / "a"], format=format, columns=("x",))
    (split,) = resolve([tmp_path / "a"], format=format).splits
    with pytest.raises(InputError, match="is read as bytes, which have no columns"):
        list(open_split(split, columns=("x",)))
